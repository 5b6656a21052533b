//! What a name that a pickle imports can do, decided by an allow-list.
//!
//! A list of what is forbidden always has a gap: Python offers hundreds of functions that end
//! in running a command. So a name is fine only where it is known to be needed by checkpoints
//! and harmless with any argument. What is left is told apart by how much is known about it.

use super::standard_library;

/// What is known about an imported name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Harmless whatever it is called with.
    Allowed,
    /// A class of a package that is not known; making an instance runs that package's code.
    UnknownClass,
    /// A function of a package that is not known.
    UnknownFunction,
    /// Runs code, reads or writes files, or reaches out.
    Dangerous,
}

/// Judges `name` of `module`, as `GLOBAL`, `INST` and `STACK_GLOBAL` import it.
pub(super) fn judge(module: &str, name: &str) -> Standing {
    let (module, name) = modern_name(module, name);
    if is_allowed(module, name) {
        Standing::Allowed
    } else if is_dangerous(module, name) {
        Standing::Dangerous
    } else if is_class_like(name) {
        Standing::UnknownClass
    } else {
        Standing::UnknownFunction
    }
}

/// Names of Python 2 that Python 3 maps when it loads protocols 0 to 2 (`_compat_pickle`).
fn modern_name<'a>(module: &'a str, name: &'a str) -> (&'a str, &'a str) {
    match (module, name) {
        ("__builtin__", "xrange") => ("builtins", "range"),
        ("__builtin__", "unicode") => ("builtins", "str"),
        ("__builtin__", "long") => ("builtins", "int"),
        ("__builtin__" | "exceptions", name) => ("builtins", name),
        ("copy_reg", name) => ("copyreg", name),
        other => other,
    }
}

fn is_allowed(module: &str, name: &str) -> bool {
    ALLOWED.iter().any(|(allowed, names)| *allowed == module && names.split(' ').any(|allowed| allowed == name))
        || (module == "builtins" && is_exception(name))
        || (matches!(module, "torch" | "torch.cuda" | "torch.storage") && is_torch_type(name))
        || is_known_instance(module, name)
        || is_known_reconstructor(module, name)
}

fn is_exception(name: &str) -> bool {
    is_class_like(name) && ["Error", "Exception", "Warning"].iter().any(|suffix| name.ends_with(suffix))
}

/// Storages, tensors and element types of `torch`.
fn is_torch_type(name: &str) -> bool {
    const TYPES: &str = "Float Double Half BFloat16 Long Int Short Char Byte Bool ComplexFloat ComplexDouble QInt8 \
        QUInt8 QInt32 QUInt4x2 QUInt2x4 Untyped Typed";
    const DTYPES: &str = "float float16 float32 float64 bfloat16 half double int int8 int16 int32 int64 short long \
        uint8 uint16 uint32 uint64 bool complex32 complex64 complex128 cfloat cdouble chalf qint8 quint8 qint32 \
        quint4x2 quint2x4 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 \
        strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc channels_last contiguous_format \
        preserve_format per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric";
    let (stem, is_type) = match name.strip_suffix("Storage").or_else(|| name.strip_suffix("Tensor")) {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let is_one_of = |list: &str| list.split(' ').any(|known| known == stem);
    if is_type { stem.is_empty() || is_one_of(TYPES) } else { is_one_of(DTYPES) }
}

/// Classes of well-known packages whose instances hold settings and arrays, and that take their
/// state without running any of it.
fn is_known_instance(module: &str, name: &str) -> bool {
    !name.contains('.') && is_class_like(name) && INSTANCE_MODULES.split(' ').any(|known| is_inside(module, known))
}

/// Functions that the compiled parts of these packages generate to take an object's state.
fn is_known_reconstructor(module: &str, name: &str) -> bool {
    let is_generated = name.starts_with("__pyx_unpickle_") && name["__pyx_".len()..].chars().all(is_name_character);
    is_generated && ["sklearn", "pandas", "scipy", "numpy"].iter().any(|package| is_inside(module, package))
}

const fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn is_dangerous(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or(module);
    let mut parts = name.split('.');
    let last = parts.next_back().unwrap_or(name);
    standard_library::contains(root)
        || DANGEROUS_PACKAGES.split(' ').any(|package| is_inside(module, package))
        // An attribute path walks from a harmless module into one that it imports itself.
        || parts.any(is_foreign_part)
        || is_foreign_part(last)
        || DANGEROUS_NAMES.split(' ').any(|name| name == last)
}

/// Whether an attribute of this name is, as a rule, a module that another one has imported.
fn is_foreign_part(part: &str) -> bool {
    const ORDINARY: &str = "test signal random code types string statistics array numbers parser operator struct \
        select copy token symbol calendar time queue user new platform profile repr chunk cmd trace this graphlib";
    (standard_library::contains(part) && !ORDINARY.split(' ').any(|word| word == part))
        || (part.starts_with("__") && part.ends_with("__"))
}

fn is_inside(module: &str, package: &str) -> bool {
    module.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether the last part of the name begins as classes do.
fn is_class_like(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.trim_start_matches('_').starts_with(|character: char| character.is_ascii_uppercase())
}

/// Module, and what may be imported from it.
const ALLOWED: &[(&str, &str)] = &[
    (
        "builtins",
        "set frozenset complex bytearray bytes slice range int float str bool list dict tuple object NoneType \
         Ellipsis NotImplemented memoryview",
    ),
    ("collections", "OrderedDict defaultdict Counter deque ChainMap UserDict UserList UserString"),
    ("_collections", "OrderedDict defaultdict deque"),
    ("copyreg", "_reconstructor __newobj__ __newobj_ex__"),
    ("_codecs", "encode"),
    ("datetime", "datetime date time timedelta timezone"),
    ("_datetime", "datetime date time timedelta timezone"),
    ("decimal", "Decimal"),
    ("_decimal", "Decimal"),
    ("_pydecimal", "Decimal"),
    ("fractions", "Fraction"),
    ("uuid", "UUID SafeUUID"),
    ("ipaddress", "IPv4Address IPv6Address IPv4Network IPv6Network IPv4Interface IPv6Interface"),
    ("pathlib", "PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath"),
    ("pathlib._local", "PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath"),
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace NoneType MappingProxyType"),
    ("array", "array _array_reconstructor"),
    ("random", "Random"),
    ("time", "struct_time"),
    ("re", "_compile RegexFlag"),
    ("string", "Template"),
    ("io", "BytesIO StringIO"),
    ("_io", "BytesIO StringIO"),
    ("zoneinfo", "ZoneInfo._unpickle"),
    (
        "numpy",
        "ndarray dtype matrix bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc intp uint \
         longlong ulonglong float16 float32 float64 float_ float128 longdouble complex64 complex128 complex256 \
         clongdouble str_ bytes_ object_ void datetime64 timedelta64 string_ unicode_ recarray record",
    ),
    ("numpy.core.multiarray", "_reconstruct scalar ndarray dtype"),
    ("numpy._core.multiarray", "_reconstruct scalar ndarray dtype"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy._core._internal", "_convert_to_stringdtype_kwargs"),
    ("numpy.core._internal", "_reconstruct"),
    ("numpy.core.records", "recarray record"),
    ("numpy._core.records", "recarray record"),
    ("numpy.rec", "recarray record"),
    ("numpy.dtypes", "StringDType"),
    ("numpy.ma.core", "_mareconstruct MaskedArray"),
    ("numpy.ma", "MaskedArray"),
    ("numpy.matrixlib.defmatrix", "matrix"),
    ("numpy.random._pickle", "__randomstate_ctor __generator_ctor __bit_generator_ctor"),
    ("numpy.random", "__RandomState_ctor RandomState"),
    ("numpy.random.mtrand", "RandomState __RandomState_ctor"),
    ("numpy.random._generator", "Generator"),
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random._pcg64", "PCG64 PCG64DXSM"),
    ("numpy.random._philox", "Philox"),
    ("numpy.random._sfc64", "SFC64"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("torch", "Size device Tensor Generator dtype layout memory_format finfo iinfo"),
    (
        "torch._utils",
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state \
         _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_meta_tensor_no_storage \
         _rebuild_nested_tensor _rebuild_wrapper_subclass _rebuild_device_tensor_from_numpy \
         _rebuild_device_tensor_from_cpu_tensor _rebuild_xla_tensor",
    ),
    ("torch._tensor", "_rebuild_from_type_v2 Tensor"),
    ("torch.nn.parameter", "Parameter Buffer UninitializedParameter UninitializedBuffer"),
    ("torch.storage", "TypedStorage UntypedStorage _TypedStorage _UntypedStorage"),
    ("torch.serialization", "_get_layout"),
    ("torch.torch_version", "TorchVersion"),
    (
        "torch.jit._pickle",
        "build_intlist build_tensorlist build_doublelist build_boollist build_tensor_from_id \
         restore_type_tag",
    ),
    ("torch._C._nn", "gelu"),
    (
        "torch.nn.functional",
        "relu relu6 gelu silu elu selu celu leaky_relu sigmoid tanh softmax log_softmax hardswish hardtanh mish \
         softplus softsign logsigmoid",
    ),
    ("torch.nn.utils.rnn", "PackedSequence"),
    ("torch._C", "_TensorBase TensorBase ScriptObject"),
    ("pandas", "DataFrame Series Index Timestamp Timedelta Period Interval Categorical"),
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.series", "Series"),
    ("pandas.core.indexes.base", "Index _new_Index"),
    ("pandas.core.indexes.range", "RangeIndex"),
    ("pandas.core.indexes.numeric", "Int64Index UInt64Index Float64Index"),
    ("pandas.core.indexes.multi", "MultiIndex"),
    ("pandas.core.indexes.category", "CategoricalIndex"),
    ("pandas.core.indexes.datetimes", "DatetimeIndex _new_DatetimeIndex"),
    ("pandas.core.internals.managers", "BlockManager SingleBlockManager"),
    ("pandas.core.internals.blocks", "new_block"),
    ("pandas._libs.internals", "_unpickle_block BlockManager"),
    ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp Timestamp"),
    ("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle Timedelta"),
    ("pandas._libs.tslibs.nattype", "_nat_unpickle"),
    ("pandas.core.arrays.categorical", "Categorical"),
    ("pandas.core.arrays.datetimes", "DatetimeArray"),
    ("pandas.core.arrays.string_", "StringArray StringDtype"),
    ("pandas.core.dtypes.dtypes", "CategoricalDtype DatetimeTZDtype"),
    ("sklearn.neighbors._kd_tree", "newObj"),
    ("sklearn.neighbors._ball_tree", "newObj"),
    ("sklearn.neighbors._dist_metrics", "newObj"),
    ("sklearn.metrics._dist_metrics", "newObj"),
    ("scipy.sparse.csr", "csr_matrix"),
    ("scipy.sparse.csc", "csc_matrix"),
    ("scipy.sparse._csr", "csr_matrix csr_array"),
    ("scipy.sparse._csc", "csc_matrix csc_array"),
    ("scipy.sparse._coo", "coo_matrix coo_array"),
    ("scipy.sparse._dok", "dok_matrix dok_array"),
    ("scipy.sparse._lil", "lil_matrix lil_array"),
    ("scipy.interpolate._interpolate", "interp1d PPoly"),
    ("xgboost.core", "Booster"),
    ("xgboost.sklearn", "XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor"),
    ("lightgbm.basic", "Booster"),
    ("lightgbm.sklearn", "LGBMClassifier LGBMRegressor LGBMRanker"),
    ("pytz", "_UTC _p"),
];

/// Modules (and all below them) whose classes are data.
const INSTANCE_MODULES: &str = "sklearn.base sklearn.calibration sklearn.cluster sklearn.compose sklearn.covariance \
    sklearn.cross_decomposition sklearn.decomposition sklearn.discriminant_analysis sklearn.dummy sklearn.ensemble \
    sklearn.feature_extraction sklearn.feature_selection sklearn.gaussian_process sklearn.impute sklearn.isotonic \
    sklearn.kernel_approximation sklearn.kernel_ridge sklearn.linear_model sklearn.manifold sklearn.mixture \
    sklearn.model_selection sklearn.multiclass sklearn.multioutput sklearn.naive_bayes sklearn.neighbors \
    sklearn.neural_network sklearn.pipeline sklearn.preprocessing sklearn.random_projection sklearn.semi_supervised \
    sklearn.svm sklearn.tree sklearn._loss sklearn.utils._bunch sklearn.utils.bunch sklearn.metrics \
    torch.nn.modules torch.optim transformers.training_args transformers.training_args_seq2seq \
    transformers.trainer_utils transformers.trainer_pt_utils transformers.generation.configuration_utils \
    transformers.integrations.deepspeed transformers.configuration_utils transformers.debug_utils \
    transformers.utils.quantization_config transformers.utils.generic transformers.file_utils \
    accelerate.state accelerate.utils.dataclasses trl.trainer.sft_config trl.trainer.dpo_config \
    trl.trainer.grpo_config trl.trainer.orpo_config trl.trainer.kto_config trl.trainer.reward_config \
    trl.trainer.ppo_config sentence_transformers.training_args sentence_transformers.evaluation.SimilarityFunction";

/// Third-party packages (and all below them) that exist to run, load, fetch or drive something.
/// Functions of other packages need no entry: calling one that is not known is dangerous anyway.
const DANGEROUS_PACKAGES: &str = "pip setuptools pkg_resources _distutils_hack wheel conda requests aiohttp httpx \
    httplib2 urllib3 pycurl paramiko fabric invoke pexpect ptyprocess sh plumbum docker IPython ipykernel jupyter_client \
    jupyter_server nbconvert notebook cloudpickle dill jsonpickle jinja2 mako yaml ruamel psutil py pytest _pytest nose \
    cffi pyximport celery twisted tornado gevent eventlet zmq websocket websockets redis pymongo sqlalchemy boto3 \
    botocore s3fs smart_open gdown wget git selenium playwright flask django fastapi uvicorn gradio streamlit win32api \
    win32com win32process pythoncom pywintypes pyautogui pynput keyboard torch.hub torch.serialization torch.jit \
    torch.ops torch.classes torch.package torch._inductor torch._dynamo torch._ops torch.multiprocessing numpy.testing \
    numpy.f2py numpy.distutils numpy.ctypeslib scipy.weave pandas.io joblib.externals transformers.dynamic_module_utils";

/// Last parts of names that are trouble in any module, which may have imported them from another.
const DANGEROUS_NAMES: &str = "Popen popen system eval exec execfile compile getattr setattr delattr import_module \
    resolve_name check_output check_call spawn startfile fork_exec InteractiveInterpreter InteractiveConsole CDLL PyDLL \
    WinDLL OleDLL LibraryLoader FileIO attrgetter methodcaller partial runstring run_path run_module runctx run_code \
    _run_code load loads load_module exec_module exec_command read_pickle urlopen urlretrieve rmtree unlink breakpoint \
    globals locals";

#[cfg(test)]
mod tests {
    use super::Standing::{Allowed, Dangerous, UnknownClass, UnknownFunction};
    use super::*;

    #[test]
    fn what_checkpoints_import_is_allowed() {
        for (module, name) in [
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "BFloat16Storage"),
            ("torch", "bfloat16"),
            ("torch", "Tensor"),
            ("__builtin__", "set"),
            ("copy_reg", "_reconstructor"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("transformers.training_args", "TrainingArguments"),
            ("sklearn.linear_model._logistic", "LogisticRegression"),
            ("sklearn._loss._loss", "__pyx_unpickle_CyHalfBinomialLoss"),
            ("builtins", "ValueError"),
        ] {
            assert_eq!(judge(module, name), Allowed, "{module}.{name}");
        }
    }

    #[test]
    fn what_runs_code_is_dangerous_by_whatever_road() {
        for (module, name) in [
            ("os", "system"),
            ("nt", "system"),
            ("__builtin__", "eval"),
            ("builtins", "getattr"),
            ("commands", "getoutput"),
            ("torch", "_utils.os.system"),
            ("torch.serialization", "os"),
            ("collections", "_sys.modules"),
            ("builtins", "set.__class__"),
            ("numpy", "testing._private.utils.runstring"),
            ("numpy.testing._private.utils", "runstring"),
            ("some.package", "Popen"),
            ("some.package", "os.Anything"),
            ("torch._inductor.codecache", "compile_file"),
            ("functools", "partial"),
            // Makes classes, and tells the class of anything, which can then be changed.
            ("builtins", "type"),
            ("torch", "load"),
            ("logging", "FileHandler"),
            ("idlelib.run", "Executive"),
        ] {
            assert_eq!(judge(module, name), Dangerous, "{module}.{name}");
        }
    }

    #[test]
    fn names_are_never_allowed_by_their_beginning() {
        assert_eq!(judge("collections", "OrderedDict.__reduce__"), Dangerous);
        assert_eq!(judge("torch", "Size.run"), UnknownFunction);
        assert_eq!(judge("torchx", "FloatStorage"), UnknownClass);
        assert_eq!(judge("torch.nn.modules", "linear.Linear"), UnknownClass);
        assert_eq!(judge("sklearn_evil", "Model"), UnknownClass);
    }

    #[test]
    fn strangers_are_told_apart_by_how_they_are_named() {
        assert_eq!(judge("__main__", "Net"), UnknownClass);
        assert_eq!(judge("fairseq.data", "_Dictionary"), UnknownClass);
        assert_eq!(judge("mypackage.loading", "restore"), UnknownFunction);
    }
}
