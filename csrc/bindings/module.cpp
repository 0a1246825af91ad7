// setuptools builds the library as an extension module and exports this name. It is never imported: ctypes opens it.
#include "bindings/guard.h"

EXPORT void* PyInit__native() { return nullptr; }
