# Compiles through ccache where it is installed. The two kinds of sloppiness are what it needs for precompiled headers.
find_program(ccache_program ccache)
mark_as_advanced(ccache_program)
if(ccache_program AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${ccache_program})
endif()
if(ccache_program AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${ccache_program})
endif()
