//! What conda packages are called elsewhere.

/// Packages that an index of Python packages has under another name.
const RENAMED: &[(&str, &str)] = &[
    ("brotli-python", "brotli"),
    ("dask-core", "dask"),
    ("matplotlib-base", "matplotlib"),
    ("msgpack-python", "msgpack"),
    ("opencv", "opencv-python-headless"),
    ("py-lightgbm", "lightgbm"),
    ("py-opencv", "opencv-python-headless"),
    ("py-xgboost", "xgboost"),
    ("py-xgboost-cpu", "xgboost"),
    ("py-xgboost-gpu", "xgboost"),
    ("pyqt", "pyqt5"),
    ("pytables", "tables"),
    ("python-build", "build"),
    ("python-flatbuffers", "flatbuffers"),
    ("python-graphviz", "graphviz"),
    ("python-kaleido", "kaleido"),
    ("pytorch", "torch"),
    ("pytorch-cpu", "torch"),
    ("pytorch-gpu", "torch"),
    ("ray-core", "ray"),
    ("ray-default", "ray[default]"),
    ("ruamel_yaml", "ruamel.yaml"),
    ("seaborn-base", "seaborn"),
    ("tensorflow-base", "tensorflow"),
    ("tensorflow-gpu", "tensorflow"),
];

/// Packages that are not Python's: programs, libraries and what ties conda packages together.
const NATIVE: &[&str] = &[
    "_libgcc_mutex",
    "_openmp_mutex",
    "binutils",
    "blas",
    "bzip2",
    "c-ares",
    "c-compiler",
    "ca-certificates",
    "cmake",
    "compilers",
    "cpuonly",
    "cudatoolkit",
    "cudnn",
    "curl",
    "cxx-compiler",
    "expat",
    "ffmpeg",
    "fftw",
    "fontconfig",
    "freetype",
    "geos",
    "git",
    "glib",
    "graphviz",
    "gsl",
    "hdf5",
    "icu",
    "jpeg",
    "krb5",
    "lcms2",
    "ld_impl_linux-64",
    "llvm-openmp",
    "make",
    "mkl",
    "mpi",
    "mpich",
    "nccl",
    "ncurses",
    "ninja",
    "nodejs",
    "nomkl",
    "openblas",
    "openjdk",
    "openmp",
    "openmpi",
    "openssl",
    "pandoc",
    "pip",
    "pkg-config",
    "proj",
    "python_abi",
    "pytorch-cuda",
    "pytorch-mutex",
    "r-base",
    "readline",
    "snappy",
    "sqlite",
    "tbb",
    "tk",
    "xz",
    "zlib",
    "zstd",
];

/// How the names of more of them begin.
const NATIVE_PREFIXES: &[&str] =
    &["cuda-", "gcc", "gfortran", "gxx", "lib", "openblas-", "r-", "sysroot_", "xorg-"];

/// Python packages whose names begin in the same way.
const NOT_NATIVE: &[&str] = &["libclang", "libcst", "librosa", "libsass", "libtmux"];

/// What becomes of a conda package where packages come from an index of Python packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counterpart<'a> {
    /// It is known under this name.
    Named(&'a str),
    /// There is none.
    Native,
}

/// Looks `name`, in lower case, up.
pub(super) fn counterpart(name: &str) -> Counterpart<'_> {
    if let Some((_, renamed)) = RENAMED.iter().find(|(conda, _)| *conda == name) {
        return Counterpart::Named(renamed);
    }
    let prefixed = NATIVE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if NATIVE.contains(&name) || prefixed && !NOT_NATIVE.contains(&name) {
        Counterpart::Native
    } else {
        Counterpart::Named(name)
    }
}
