# Stable Diffusion 3.
pushforward_oracle_test(models_rectified_flow LABEL models ORACLE rectified_flow
  SOURCES sd3_texts.cpp sd3_times.cpp sd3_transformer.cpp LIBRARIES pushforward::models)
pushforward_device_test(models_rectified_flow FIXTURE rectified_flow [device])
