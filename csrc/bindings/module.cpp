// setuptools builds the library as an extension module and exports this name. Nobody imports it: ctypes opens it.
#include "bindings/guard.h"

EXPORT void* PyInit__native() { return nullptr; }
