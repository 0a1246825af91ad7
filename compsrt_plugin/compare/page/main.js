document.getElementById("conditions").textContent = `${data.conditions}. Baseline: ${data.baseline}.`;
showMeans();
showDifferences();
const open = showViewer();
showScores(open);
showEntries();
showPublished();
