# The package files for find_package(pushforward COMPONENTS ...).
include(CMakePackageConfigHelpers)

get_property(pushforward_components GLOBAL PROPERTY pushforward_components)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/pushforward)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pushforwardConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pushforwardConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pushforwardConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pushforwardConfig.cmake ${PROJECT_BINARY_DIR}/pushforwardConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindLibtorch.cmake ${PROJECT_SOURCE_DIR}/cmake/FindRandom123.cmake
  DESTINATION ${package_folder} COMPONENT pushforward)
