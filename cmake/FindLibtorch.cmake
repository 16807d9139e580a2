# Finds libtorch and defines Libtorch::Libtorch. TorchConfig.cmake is not used: the one in the CUDA wheels stops
# where there is no CUDA toolkit, even for CPU use, and overwrites CMAKE_CUDA_ARCHITECTURES where there is one.
#
# Looks, in this order, at
#   1. PUSHFORWARD_TORCH (CMake variable, then environment): the folder that holds include/ and lib/
#   2. Torch_DIR (CMake variable, then environment): that folder's share/cmake/Torch
#   3. the torch package that python3 (or Python3_EXECUTABLE) would import
#   4. the cache folder that scripts/setup.sh fills: ${PUSHFORWARD_CACHE}, else ${XDG_CACHE_HOME}/pushforward, else
#      ~/.cache/pushforward
#   5. Libtorch_LAST_RESORT: a folder as in 1
# A folder named by 1 or 2 must do; the others are passed over if they do not.
#
# With PUSHFORWARD_LIBTORCH_CUDA, the CUDA libraries must be there too, with all that they load.
# Sets Libtorch_FOUND, Libtorch_VERSION, Libtorch_DIR_FOUND, Libtorch_NOT_FOUND_REASON.

set(Libtorch_OLDEST 2.4.0)

# Sets `reason` to why the folder will not do, or to nothing; and the version and the libraries.
function(_libtorch_inspect folder reason)
  set(${reason} "" PARENT_SCOPE)
  set(version_header "")
  foreach(name IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(NOT version_header AND EXISTS "${folder}/include/${name}")
      set(version_header "${folder}/include/${name}")
    endif()
  endforeach()
  if(NOT version_header OR NOT EXISTS "${folder}/include/ATen/core/Tensor.h")
    set(${reason} "has no libtorch headers below include/" PARENT_SCOPE)
    return()
  endif()
  foreach(part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${version_header}" line REGEX "define TORCH_VERSION_${part} ")
    string(REGEX MATCH "[0-9]+" ${part} "${line}")
  endforeach()
  set(version ${MAJOR}.${MINOR}.${PATCH})
  if(version VERSION_LESS Libtorch_OLDEST)
    set(${reason} "is version ${version}; ${Libtorch_OLDEST} or newer is needed" PARENT_SCOPE)
    return()
  endif()
  find_library(library_c10 c10 PATHS "${folder}" PATH_SUFFIXES lib lib64 "lib/${CMAKE_LIBRARY_ARCHITECTURE}"
    NO_DEFAULT_PATH NO_CACHE)
  find_library(library_cpu torch_cpu PATHS "${folder}" PATH_SUFFIXES lib lib64 "lib/${CMAKE_LIBRARY_ARCHITECTURE}"
    NO_DEFAULT_PATH NO_CACHE)
  if(NOT library_c10 OR NOT library_cpu)
    set(${reason} "lacks libc10.so or libtorch_cpu.so below lib/" PARENT_SCOPE)
    return()
  endif()
  # c10::Error is made from a std::string: its name tells which std::string the library was built with.
  file(STRINGS "${library_c10}" new_abi REGEX "_ZN3c105Error.*__cxx11" LIMIT_COUNT 1)
  if(NOT new_abi)
    set(${reason} "was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0), which our code cannot be linked with"
      PARENT_SCOPE)
    return()
  endif()
  set(library_cuda "")
  if(PUSHFORWARD_LIBTORCH_CUDA)
    get_filename_component(libraries "${library_cpu}" DIRECTORY)
    set(library_cuda "${libraries}/libtorch_cuda.so")
    set(missing "${library_cuda}")
    if(EXISTS "${library_cuda}")
      execute_process(COMMAND ldd "${library_cuda}" OUTPUT_VARIABLE missing ERROR_QUIET)
      string(REGEX MATCHALL "[^\n\t ]+ => not found" missing "${missing}")
      string(REPLACE " => not found" "" missing "${missing}")
    endif()
    if(missing)
      string(REPLACE ";" ", " missing "${missing}")
      set(${reason} "cannot run on CUDA: ${missing} missing" PARENT_SCOPE)
      return()
    endif()
  endif()
  set(_libtorch_version ${version} PARENT_SCOPE)
  set(_libtorch_c10 "${library_c10}" PARENT_SCOPE)
  set(_libtorch_cpu "${library_cpu}" PARENT_SCOPE)
  set(_libtorch_cuda "${library_cuda}" PARENT_SCOPE)
endfunction()

# The folders to look at, in `_libtorch_named` and `_libtorch_guessed`.
macro(_libtorch_folders)
  set(_libtorch_named "")
  set(_libtorch_guessed "")
  foreach(_folder IN ITEMS "${PUSHFORWARD_TORCH}" "$ENV{PUSHFORWARD_TORCH}")
    if(_folder AND NOT _libtorch_named)
      set(_libtorch_named "${_folder}")
    endif()
  endforeach()
  foreach(_folder IN ITEMS "${Torch_DIR}" "$ENV{Torch_DIR}")
    if(_folder AND NOT _libtorch_named)
      get_filename_component(_libtorch_named "${_folder}/../../.." ABSOLUTE)
    endif()
  endforeach()

  if(NOT _libtorch_named)
    if(Python3_EXECUTABLE)
      set(_libtorch_python "${Python3_EXECUTABLE}")
    else()
      find_program(_libtorch_python python3 NO_CACHE)
    endif()
    if(_libtorch_python)
      execute_process(COMMAND "${_libtorch_python}" -c
        "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE _folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      list(APPEND _libtorch_guessed ${_folder})
    endif()

    if(DEFINED ENV{PUSHFORWARD_CACHE})
      set(_libtorch_cache "$ENV{PUSHFORWARD_CACHE}")
    elseif(DEFINED ENV{XDG_CACHE_HOME})
      set(_libtorch_cache "$ENV{XDG_CACHE_HOME}/pushforward")
    else()
      set(_libtorch_cache "$ENV{HOME}/.cache/pushforward")
    endif()
    file(GLOB _folder "${_libtorch_cache}/libtorch-*/torch")
    list(SORT _folder COMPARE NATURAL ORDER DESCENDING)
    list(APPEND _libtorch_guessed ${_folder} ${Libtorch_LAST_RESORT})
  endif()
endmacro()

set(Libtorch_DIR_FOUND "")
set(Libtorch_NOT_FOUND_REASON "")
_libtorch_folders()
foreach(_folder IN LISTS _libtorch_named _libtorch_guessed)
  if(NOT Libtorch_DIR_FOUND)
    _libtorch_inspect("${_folder}" _libtorch_reason)
    if(_libtorch_reason)
      string(APPEND Libtorch_NOT_FOUND_REASON "${_folder} ${_libtorch_reason}.\n")
    else()
      set(Libtorch_DIR_FOUND "${_folder}")
      set(Libtorch_VERSION ${_libtorch_version})
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch REQUIRED_VARS Libtorch_DIR_FOUND VERSION_VAR Libtorch_VERSION
  REASON_FAILURE_MESSAGE "${Libtorch_NOT_FOUND_REASON}")

if(Libtorch_FOUND AND NOT TARGET Libtorch::Libtorch AND NOT CMAKE_SCRIPT_MODE_FILE)
  add_library(Libtorch::c10 SHARED IMPORTED)
  set_target_properties(Libtorch::c10 PROPERTIES IMPORTED_LOCATION "${_libtorch_c10}")
  add_library(Libtorch::torch_cpu SHARED IMPORTED)
  set_target_properties(Libtorch::torch_cpu PROPERTIES IMPORTED_LOCATION "${_libtorch_cpu}")
  add_library(Libtorch::Libtorch INTERFACE IMPORTED)
  set_target_properties(Libtorch::Libtorch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES
      "${Libtorch_DIR_FOUND}/include;${Libtorch_DIR_FOUND}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS _GLIBCXX_USE_CXX11_ABI=1
    INTERFACE_LINK_LIBRARIES "Libtorch::torch_cpu;Libtorch::c10")
  if(_libtorch_cuda)
    # Nothing names a symbol of torch_cuda: loading it is what registers the backend, so the linker must keep it.
    target_link_libraries(Libtorch::Libtorch INTERFACE "-Wl,--push-state,--no-as-needed,${_libtorch_cuda},--pop-state")
  endif()
  if(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL)
    set_target_properties(Libtorch::c10 Libtorch::torch_cpu Libtorch::Libtorch PROPERTIES IMPORTED_GLOBAL TRUE)
  endif()
endif()
