//! How texts of the API are written, for its document.
//!
//! The core checks them; these types let a client check them before it asks, and let a fuzzer
//! tell a text that is wrong from one that is only unknown. The patterns do without lookahead,
//! because many of the programs that read OpenAPI documents have none. Where a rule needs it,
//! such as Unicode normalization, the description says what the pattern cannot.

use utoipa::ToSchema;

/// A namespace, or the name of a model within one. Neither begins or ends with `.` or `-`, nor
/// has two of them in a row.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "acme",
    min_length = 1,
    max_length = 96,
    pattern = r"^[A-Za-z0-9_]+((\.(-\.)*-?|-(\.-)*\.?)[A-Za-z0-9_]+)*$"
)]
pub struct Segment(pub String);

/// A namespace, or `*` for all namespaces.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "acme",
    min_length = 1,
    max_length = 96,
    pattern = r"^(\*|[A-Za-z0-9_]+((\.(-\.)*-?|-(\.-)*\.?)[A-Za-z0-9_]+)*)$"
)]
pub struct Namespaces(pub String);

/// `namespace/name`; each half is a [`Segment`], of at most 96 characters.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "acme/small-llama",
    pattern = r"^[A-Za-z0-9_]+((\.(-\.)*-?|-(\.-)*\.?)[A-Za-z0-9_]+)*/[A-Za-z0-9_]+((\.(-\.)*-?|-(\.-)*\.?)[A-Za-z0-9_]+)*$"
)]
pub struct QualifiedName(pub String);

/// SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    pattern = "^[0-9a-f]{64}$"
)]
pub struct Sha256(pub String);

/// Where a ref must be for a change to happen: a commit, or `none` if it must not exist yet.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, example = "none", pattern = "^(none|[0-9a-f]{40})$")]
pub struct ExpectedCommit(pub String);

/// The name of a branch or tag: what `git check-ref-format` allows, without `@` and `%`. It
/// also has no `..`, no part that ends with `.lock`, and does not look like a commit.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "main",
    min_length = 1,
    max_length = 255,
    pattern = r"^[^-./ ~^:?*\[\\@%\u0000-\u001f\u007f-\u009f][^/ ~^:?*\[\\@%\u0000-\u001f\u007f-\u009f]*(/[^./ ~^:?*\[\\@%\u0000-\u001f\u007f-\u009f][^/ ~^:?*\[\\@%\u0000-\u001f\u007f-\u009f]*)*$"
)]
pub struct RefName(pub String);

/// The path of a file in a revision: relative, `/` between folders, Unicode NFC, at most 1,024
/// bytes. Paths that differ only in case do not go together.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "model.safetensors",
    min_length = 1,
    max_length = 1024,
    pattern = r"^([^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*|\.[^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*|\.\.[^/\\\u0000-\u001f\u007f-\u009f]+)(/([^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*|\.[^./\\\u0000-\u001f\u007f-\u009f][^/\\\u0000-\u001f\u007f-\u009f]*|\.\.[^/\\\u0000-\u001f\u007f-\u009f]+))*$"
)]
pub struct FilePath(pub String);

/// The name of a person or service, without spaces at its ends.
#[derive(Debug, ToSchema)]
#[schema(
    value_type = String,
    example = "ada",
    min_length = 1,
    max_length = 128,
    pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
)]
pub struct Subject(pub String);
