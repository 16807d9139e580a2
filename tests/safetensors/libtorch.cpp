// Tensors of libtorch to safetensors files and back.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

using namespace pushforward;
using namespace testing_support;

TEST_CASE("every type that both have comes back bit by bit") {
  const scratch_folder folder;
  const auto path = folder / "w.safetensors";
  for (const auto type : {at::kBool, at::kByte, at::kChar, at::kFloat8_e5m2, at::kFloat8_e4m3fn,
                          at::kFloat8_e8m0fnu, at::kUInt16, at::kShort, at::kHalf, at::kBFloat16, at::kUInt32,
                          at::kInt, at::kFloat, at::kComplexFloat, at::kUInt64, at::kLong, at::kDouble}) {
    CAPTURE(c10::toString(type));
    const at::Tensor sent = at::tensor({0, 1, 1, 0, 1, 1}, at::kByte).view({2, 3}).to(type);
    libtorch::write_tensors(path, {{"t", sent}});
    const at::Tensor back = libtorch::read_tensor(safetensors::file(path), "t");
    REQUIRE(back.scalar_type() == type);
    REQUIRE(back.sizes() == sent.sizes());
    CHECK(std::memcmp(back.const_data_ptr(), sent.const_data_ptr(), sent.nbytes()) == 0);
  }
}

TEST_CASE("a view of another tensor is written as the numbers it shows") {
  const scratch_folder folder;
  const at::Tensor whole = at::arange(12, at::kFloat).view({3, 4});
  libtorch::write_tensors(folder / "w", {{"turned", whole.t()}, {"column", whole.select(1, 2)}},
                          {{"k", "v"}});
  const safetensors::file file(folder / "w");
  CHECK(libtorch::read_tensor(file, "turned").equal(whole.t()));
  CHECK(libtorch::read_tensor(file, "column").equal(whole.select(1, 2)));
  CHECK(file.metadata().at("k") == "v");
  CHECK(libtorch::serialize_tensors({{"turned", whole.t()}, {"column", whole.select(1, 2)}}, {{"k", "v"}}) ==
        read_bytes(folder / "w"));
}

TEST_CASE("numbers and empty tensors keep their shape") {
  const scratch_folder folder;
  libtorch::write_tensors(folder / "w", {{"number", at::scalar_tensor(7.5)}, {"empty", at::empty({0, 3})}});
  const safetensors::file file(folder / "w");
  CHECK(libtorch::read_tensor(file, "number").item<double>() == 7.5);
  CHECK(libtorch::read_tensor(file, "number").dim() == 0);
  CHECK(libtorch::read_tensor(file, "empty").sizes() == at::IntArrayRef{0, 3});
}

TEST_CASE("a type that one of the two lacks is named") {
  const scratch_folder folder;
  CHECK_THROWS_WITH(libtorch::write_tensors(folder / "w", {{"t", at::zeros({2}, at::kComplexDouble)}}),
                    contains_text("ComplexDouble"));
  const std::string byte = "x";
  safetensors::write(folder / "f4",
                     {{"t", {safetensors::dtype::f4, {2}, std::as_bytes(std::span<const char>(byte))}}});
  CHECK_THROWS_WITH(libtorch::read_tensor(safetensors::file(folder / "f4"), "t"), contains_text("type F4"));
  CHECK_THROWS_AS(libtorch::read_tensor(safetensors::file(folder / "f4"), "u"), bad_file);
}
