//! Safetensors files: a good one, any header, and the published ways to abuse the format.

/// A tensor's entry and bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// The format's name of the element type, such as `F32`.
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Written in place of where the builder puts the data, relative to the data section.
    /// Signed, because abusive files hold negative numbers.
    pub data_offsets: Option<[i128; 2]>,
    pub data: Vec<u8>,
}

impl Tensor {
    pub fn new(name: &str, dtype: &str, shape: &[u64], data: Vec<u8>) -> Self {
        Self { name: name.to_owned(), dtype: dtype.to_owned(), shape: shape.to_vec(), data_offsets: None, data }
    }

    /// An F32 tensor with these values.
    pub fn f32(name: &str, shape: &[u64], values: &[f32]) -> Self {
        Self::new(name, "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    #[must_use]
    pub const fn at_offsets(mut self, start: i128, end: i128) -> Self {
        self.data_offsets = Some([start, end]);
        self
    }
}

/// A safetensors file in the making. Nothing is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Builder {
    /// Pairs of `__metadata__`; empty leaves the key out.
    pub metadata: Vec<(String, String)>,
    pub tensors: Vec<Tensor>,
    /// Written in place of the JSON header.
    pub header: Option<Vec<u8>>,
    /// Written in place of the header's length.
    pub header_length: Option<u64>,
    /// Written after the last tensor.
    pub trailer: Vec<u8>,
}

impl Builder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Two small F32 tensors and the metadata that `transformers` writes.
    pub fn good() -> Self {
        Self::new()
            .metadata("format", "pt")
            .tensor(Tensor::f32("embedding.weight", &[4, 2], &[0.5; 8]))
            .tensor(Tensor::f32("output.bias", &[4], &[0.25; 4]))
    }

    /// A rank-`rank` LoRA adapter for one 8 by 8 attention projection, named as `peft` does.
    pub fn lora(rank: u64) -> Self {
        let count = usize::try_from(rank * 8).unwrap_or(0);
        let name = |part: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight");
        Self::new()
            .metadata("format", "pt")
            .tensor(Tensor::f32(&name("A"), &[rank, 8], &vec![0.01; count]))
            .tensor(Tensor::f32(&name("B"), &[8, rank], &vec![0.02; count]))
    }

    #[must_use]
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn tensor(mut self, tensor: Tensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    #[must_use]
    pub fn header(mut self, header: impl Into<Vec<u8>>) -> Self {
        self.header = Some(header.into());
        self
    }

    #[must_use]
    pub const fn claim_header_length(mut self, length: u64) -> Self {
        self.header_length = Some(length);
        self
    }

    #[must_use]
    pub fn trailer(mut self, bytes: &[u8]) -> Self {
        self.trailer = bytes.to_vec();
        self
    }

    /// The bytes of the file.
    pub fn build(&self) -> Vec<u8> {
        let header = self.header.clone().unwrap_or_else(|| self.json().into_bytes());
        let mut output = self.header_length.unwrap_or(header.len() as u64).to_le_bytes().to_vec();
        output.extend(header);
        for tensor in &self.tensors {
            output.extend(&tensor.data);
        }
        output.extend(&self.trailer);
        output
    }

    /// The header, padded with spaces to a multiple of 8 as the reference writer does.
    fn json(&self) -> String {
        let mut entries = Vec::new();
        if !self.metadata.is_empty() {
            let pairs: Vec<_> =
                self.metadata.iter().map(|(key, value)| format!("{}:{}", quote(key), quote(value))).collect();
            entries.push(format!("\"__metadata__\":{{{}}}", pairs.join(",")));
        }
        let mut next = 0;
        for tensor in &self.tensors {
            let end = next + tensor.data.len() as i128;
            let [start, end_written] = tensor.data_offsets.unwrap_or([next, end]);
            entries.push(entry(tensor, start, end_written));
            next = end;
        }
        let json = format!("{{{}}}", entries.join(","));
        let width = json.len().next_multiple_of(8);
        format!("{json:<width$}")
    }
}

fn entry(tensor: &Tensor, start: i128, end: i128) -> String {
    let shape: Vec<_> = tensor.shape.iter().map(u64::to_string).collect();
    format!(
        "{}:{{\"dtype\":{},\"shape\":[{}],\"data_offsets\":[{start},{end}]}}",
        quote(&tensor.name),
        quote(&tensor.dtype),
        shape.join(","),
    )
}

/// A JSON string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => quoted.extend(format!("\\u{:04x}", control as u32).chars()),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A named file that every reader must refuse or flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abuse {
    /// What is wrong, as a test may print it.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// The published ways to abuse the format: lengths, offsets, shapes, repeated keys, bytes
/// that no tensor owns.
pub fn abuses() -> Vec<Abuse> {
    let mut all = length_abuses();
    all.extend(offset_abuses());
    all.extend(header_abuses());
    all
}

fn abuse(name: &'static str, bytes: Vec<u8>) -> Abuse {
    Abuse { name, bytes }
}

fn length_abuses() -> Vec<Abuse> {
    let good = Builder::good();
    vec![
        abuse("empty file", Vec::new()),
        abuse("seven bytes", vec![0; 7]),
        abuse("header longer than the file", good.clone().claim_header_length(1 << 20).build()),
        abuse("header longer than 100 MB", good.clone().claim_header_length(100_000_001).build()),
        abuse("header length of all ones", good.clone().claim_header_length(u64::MAX).build()),
        abuse("header of length zero", good.claim_header_length(0).build()),
    ]
}

fn offset_abuses() -> Vec<Abuse> {
    let two = |first: [i128; 2], second: [i128; 2]| {
        let place = |name: &str, at: [i128; 2]| Tensor::f32(name, &[2], &[1.0; 2]).at_offsets(at[0], at[1]);
        Builder::new().tensor(place("a", first)).tensor(place("b", second)).build()
    };
    vec![
        abuse("overlapping tensors", two([0, 8], [4, 12])),
        abuse("same bytes twice", two([0, 8], [0, 8])),
        abuse("hole between tensors", two([0, 8], [12, 20])),
        abuse("negative offset", two([-8, 0], [8, 16])),
        abuse("end before start", two([8, 0], [8, 16])),
        abuse("offset beyond the file", two([0, 8], [1 << 40, (1 << 40) + 8])),
        abuse("offset beyond 64 bits", two([0, 8], [1 << 64, (1 << 64) + 8])),
        abuse("bytes after the last tensor", Builder::good().trailer(b"PK\x05\x06trailing archive").build()),
    ]
}

fn header_abuses() -> Vec<Abuse> {
    let with_shape =
        |dtype: &str, shape: &[u64]| Builder::new().tensor(Tensor::new("a", dtype, shape, vec![0; 8])).build();
    let with_header = |header: &[u8]| {
        let mut builder = Builder::new().header(header);
        builder.trailer = vec![0; 8];
        builder.build()
    };
    vec![
        abuse("shape larger than the data", with_shape("F32", &[100])),
        abuse("shape that overflows 64 bits", with_shape("F32", &[1 << 32, 1 << 32])),
        abuse("unknown element type", with_shape("F31", &[2])),
        abuse(
            "tensor named twice",
            with_header(
                br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            ),
        ),
        abuse(
            "license declared twice",
            with_header(
                br#"{"__metadata__":{"license":"apache-2.0","license":"cc-by-nc-4.0"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            ),
        ),
        abuse(
            "metadata that is not text",
            with_header(br#"{"__metadata__":{"a":[1]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#),
        ),
        abuse("invalid UTF-8", with_header(b"{\"\xff\xfe\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}")),
        abuse("header that is not an object", with_header(b"[1,2,3,4]")),
        abuse("header that is not JSON", with_header(b"\x80\x04\x95pickle")),
        abuse("deeply nested header", with_header(&[b'['; 10_000])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_file_has_length_header_and_data() {
        let bytes = Builder::good().build();
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        assert_eq!(header["embedding.weight"]["data_offsets"], serde_json::json!([0, 32]));
        assert_eq!(header["output.bias"]["data_offsets"], serde_json::json!([32, 48]));
        assert_eq!(header["__metadata__"]["format"], "pt");
        assert_eq!(bytes.len(), 8 + length + 48);
        assert_eq!(length % 8, 0);
    }

    #[test]
    fn names_with_quotes_and_control_characters_stay_json() {
        let bytes = Builder::new().tensor(Tensor::f32("a\"\\\n\u{1}", &[1], &[1.0])).build();
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..bytes.len() - 4]).unwrap();
        assert!(header.get("a\"\\\n\u{1}").is_some());
    }

    #[test]
    fn abuses_have_distinct_names_and_bytes() {
        let all = abuses();
        for (index, abuse) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != abuse.name && other.bytes != abuse.bytes));
        }
    }
}
