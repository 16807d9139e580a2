# cmake -P scripts/find_libtorch.cmake: prints the folder of the libtorch that a build here would use; where there is
# none, says why and fails.
set(Libtorch_FIND_QUIETLY TRUE)
include(${CMAKE_CURRENT_LIST_DIR}/../cmake/FindLibtorch.cmake)
if(Libtorch_FOUND)
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${Libtorch_DIR_FOUND}")
else()
  execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${Libtorch_NOT_FOUND_REASON}no libtorch was found")
  message(FATAL_ERROR "no libtorch was found")
endif()
