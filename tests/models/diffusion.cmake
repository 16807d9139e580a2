# The UNet and the autoencoder of Stable Diffusion.
pushforward_oracle_test(pushforward_test_diffusion ORACLE diffusion SOURCES unet.cpp autoencoder_kl.cpp)

# The same at full size: built when asked for, run by hand; see full_size.cpp.
add_executable(pushforward_full_size EXCLUDE_FROM_ALL full_size.cpp)
target_link_libraries(pushforward_full_size PRIVATE pushforward::models pushforward_test_libtorch)
target_precompile_headers(pushforward_full_size REUSE_FROM pushforward_test_libtorch)
pushforward_warnings(pushforward_full_size)
