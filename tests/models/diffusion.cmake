# The UNet and the autoencoder of Stable Diffusion.
pushforward_oracle_test(models_diffusion LABEL models ORACLE diffusion
  SOURCES unet.cpp autoencoder_kl.cpp layers.cpp LIBRARIES pushforward::models)
pushforward_device_test(models_diffusion FIXTURE diffusion [device])

# The same at full size: built when asked for, run by hand; see full_size.cpp.
add_executable(models_diffusion_full EXCLUDE_FROM_ALL full_size.cpp)
target_link_libraries(models_diffusion_full PRIVATE pushforward::models pushforward_test_libtorch)
target_precompile_headers(models_diffusion_full REUSE_FROM pushforward_test_libtorch)
pushforward_warnings(models_diffusion_full)
