# Turns CMake's language CUDA on where there is an nvcc that works, and sets pushforward_has_cuda to whether. Where there is
# none, PUSHFORWARD_CUDA=ON is an error, AUTO goes on without.
#
# nvcc is the one of CMAKE_CUDA_COMPILER, CUDACXX, the PATH, CUDA_PATH or /usr/local/cuda.
set(pushforward_has_cuda OFF)
if(NOT CMAKE_CUDA_COMPILER)
  unset(CMAKE_CUDA_COMPILER CACHE) # a search that found none
  if(NOT DEFINED ENV{CUDACXX})
    find_program(pushforward_nvcc nvcc PATHS ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin NO_CACHE)
    if(pushforward_nvcc)
      set(ENV{CUDACXX} ${pushforward_nvcc})
    endif()
  endif()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  # Ampere and Hopper, and PTX for what comes after them
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "CUDA architectures")
endif()
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know that nvcc has C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared) # the one that other libraries of a program use
  set(pushforward_has_cuda ON)
elseif(PUSHFORWARD_CUDA STREQUAL AUTO)
  message(STATUS "pushforward::cuda is left out: no nvcc that works was found")
else()
  message(FATAL_ERROR "PUSHFORWARD_CUDA was asked for, but no nvcc that works was found.\n"
    "Install NVIDIA's CUDA Toolkit, or name its compiler with -DCMAKE_CUDA_COMPILER=<.../bin/nvcc>")
endif()
