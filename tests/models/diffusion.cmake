# The UNet and the autoencoder of Stable Diffusion.
pushforward_oracle_test(pushforward_test_diffusion ORACLE diffusion SOURCES unet.cpp autoencoder_kl.cpp)
