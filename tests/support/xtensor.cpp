// Nothing of its own: the library holds the precompiled headers.
#include "xtensor_headers.hpp"
