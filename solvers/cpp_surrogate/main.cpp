// Runs a surrogate that `pdeflow export RUN -o model.pt2 --aot` has compiled, on plain arrays.
//
//   cpp_surrogate model.pt2 input.bin output.bin
//
// input.bin holds float32 numbers, (batch, channels, *points) in C order, in physical units; so does output.bin.
// What the numbers mean stands in the package as JSON, under "pdeflow" in its metadata.

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

// The numbers of a simulation code; here they come from a file.
std::vector<float> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
  return values;
}

void write(const std::string& path, const at::Tensor& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  if (!file) throw std::runtime_error(path + ": cannot be written");
}

using Metadata = std::unordered_map<std::string, std::string>;

// What `pdeflow export --aot` has written into the package under this key.
std::string told(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found == metadata.end())
    throw std::runtime_error("the package's metadata has no \"" + key +
                             "\": it is not one of this version's `pdeflow export --aot`; export it again");
  return found->second;
}

// The shape of one sample, (channels, *points), as the package gives it: "1 65 65".
std::vector<std::int64_t> sample_shape(const Metadata& metadata) {
  std::istringstream words(told(metadata, "pdeflow_shape"));
  std::vector<std::int64_t> shape;
  for (std::int64_t n; words >> n;) shape.push_back(n);
  return shape;
}

int main(int count, char** arguments) {
  if (count != 4) {
    std::cerr << "usage: " << arguments[0] << " model.pt2 input.bin output.bin\n";
    return 2;
  }
  try {
    // The compiled code compares dtype, shape and strides with what it was made for only if this is set when it
    // first runs; without, it reads past the end of an array of another shape.
    setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1);
    torch::inductor::AOTIModelPackageLoader model(arguments[1]);
    const auto metadata = model.get_metadata();
    std::cout << told(metadata, "pdeflow") << '\n';

    std::vector<float> input = read(arguments[2]);
    std::vector<std::int64_t> shape = sample_shape(metadata);
    std::int64_t size = 1;
    for (const auto n : shape) size *= n;
    const auto batch = static_cast<std::int64_t>(input.size()) / size;
    if (batch < 1 || batch * size != static_cast<std::int64_t>(input.size()))
      throw std::runtime_error(std::string(arguments[2]) + ": expected whole samples of " + std::to_string(size) +
                               " numbers, got " + std::to_string(input.size()));
    shape.insert(shape.begin(), batch);

    // A view of the array: nothing is copied.
    const at::Tensor x = at::from_blob(input.data(), shape, at::kFloat);
    const at::Tensor y = model.run({x}).at(0).contiguous();
    write(arguments[3], y);
    std::cout << y.sizes() << '\n';
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
