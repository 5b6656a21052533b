//! The rules by which texts are cut into words before pairs are merged.
//!
//! A header gives no rule, but a name in `tokenizer.ggml.pre`, whose meaning is llama.cpp's. Each name here has
//! a golden with its ids; a name that is not here is `unsupported`, since the rule of another model gives
//! other tokens without any error.

/// What one name or several stand for.
pub(super) struct Splitting {
    pub(super) names: &'static [&'static str],
    /// Regular expressions that are applied one after the other to what the one before made of the text.
    /// Each match is a word, and so is each stretch between two matches.
    pub(super) rules: &'static [&'static str],
    /// Whether a word that is a token needs no merges.
    pub(super) keeps_whole_words: bool,
    /// Whether a document begins with a token where the header does not say.
    pub(super) begins: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
/// Contractions in both cases, letters with one character before them, up to three digits.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with marks as parts of words.
const QWEN35: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Line breaks are no part of punctuation.
const SEED: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
/// One line break after white space at most.
const BAILING: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
/// White space in runs whose lengths are powers of two.
const JAIS2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
/// A new word where capital letters follow small ones.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with contractions and up to three digits.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Whatever stands between white space and punctuation.
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// Letters of scripts that have two cases.
const CASED: &str = "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const ASIAN: &str = "[一-龥ࠀ-一가-\u{d7ff}]+";

const PLAIN: Splitting = Splitting { names: &[], rules: &[], keeps_whole_words: false, begins: false };

pub(super) const SPLITTINGS: &[Splitting] = &[
    Splitting { names: &["default"], rules: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], ..PLAIN },
    Splitting {
        names: &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
            "gigachat",
            "a.x-4.0",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
        ],
        rules: &[GPT2],
        ..PLAIN
    },
    Splitting {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        rules: &[LLAMA3],
        keeps_whole_words: true,
        begins: true,
    },
    Splitting { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], rules: &[LLAMA3], ..PLAIN },
    Splitting { names: &["glm4"], rules: &[LLAMA3], keeps_whole_words: true, ..PLAIN },
    Splitting {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "solar-open", "grok-2"],
        rules: &[QWEN2],
        ..PLAIN
    },
    Splitting { names: &["qwen35"], rules: &[QWEN35], ..PLAIN },
    Splitting { names: &["seed-coder"], rules: &[SEED], ..PLAIN },
    Splitting { names: &["bailingmoe", "bailingmoe2", "llada-moe"], rules: &[BAILING], ..PLAIN },
    Splitting { names: &["jais-2"], rules: &[JAIS2], ..PLAIN },
    Splitting { names: &["tekken"], rules: &[TEKKEN], keeps_whole_words: true, begins: true },
    Splitting { names: &["gpt-4o", "llama4", "kanana2", "minimax-m2"], rules: &[GPT4O], ..PLAIN },
    Splitting {
        names: &["smollm", "starcoder", "refact", "command-r", "exaone", "codeshell", "minerva-7b"],
        rules: &[r"\p{N}", GPT2],
        ..PLAIN
    },
    Splitting { names: &["falcon"], rules: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], ..PLAIN },
    Splitting { names: &["bloom", "poro-chat", "gpt3-finnish"], rules: &[BLOOM], ..PLAIN },
    Splitting { names: &["viking"], rules: &[BLOOM, r"\p{N}"], ..PLAIN },
    Splitting {
        names: &["deepseek-llm"],
        rules: &[r"[\r\n]", CASED, "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+", r"\s+$", ASIAN, r"\p{N}+"],
        ..PLAIN
    },
    Splitting { names: &["deepseek-coder"], rules: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", ASIAN, r"\p{N}"], ..PLAIN },
    Splitting {
        names: &["deepseek-v3", "hunyuan-dense"],
        rules: &[
            r"\p{N}{1,3}",
            "[一-龥\u{3040}-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ],
        ..PLAIN
    },
];

/// What a name stands for.
pub(super) fn find(name: &str) -> Option<&'static Splitting> {
    SPLITTINGS.iter().find(|splitting| splitting.names.contains(&name))
}
