//! Times decisions and the catalog of 100,000 models inside the server's own code.
//!
//! `bench DATABASE_URL` on an empty database. Prints rows of a Markdown table.

#![expect(clippy::print_stdout, reason = "a program whose output is its point")]
#![expect(clippy::unwrap_used, reason = "a failed step ends the measurement")]

use std::time::{Duration, Instant};

use futures::stream;
use registry_core::{
    Caller, CatalogQuery, Claim, Commit, Expected, FileSpec, InstanceKeys, JobOutcome, KeyDocuments, ModelKind,
    Opening, PageRequest, Question, Registry, Settings, Sha256Digest, Storage, Visibility,
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use verifier::evidence::{ProbeReport, ProbeVerdict};
use verifier::policy::{Policy, Use};

const MODELS: usize = 100_000;
const ROWS: usize = 1000;

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&url, &folder).await;
    let token = registry.first_admin_token().await.unwrap().unwrap();
    let admin = registry.authenticate(&token.secret).await.unwrap().unwrap();
    let name = if url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" };
    decisions(name, &registry, &admin).await;
    seed(&registry_core::connect(&url).await.unwrap()).await;
    catalog(name, &registry, &admin).await;
}

async fn open(url: &str, folder: &tempfile::TempDir) -> Registry {
    let opening = Opening {
        database_url: url.to_owned(),
        storage: Storage::Local(folder.path().join("objects")),
        keys: InstanceKeys::new(&KeyDocuments::generate().unwrap(), "bench.example.org/audit").unwrap(),
        policy: Policy::standard().unwrap(),
        settings: Settings {
            default_environment: "development".into(),
            max_file_bytes: 1 << 30,
            upload_session_ttl_ms: 3_600_000,
            xet_xorb_grace_ms: 3_600_000,
            lease_ms: 60_000,
            trust: registry_core::TrustSettings::default(),
            catalog: std::sync::Arc::new(verifier::license::Catalog::built_in().clone()),
            probe_version: "bench".into(),
            probe_configuration: "none".into(),
        },
    };
    Registry::open(opening).await.unwrap()
}

async fn decisions(database: &str, registry: &Registry, admin: &Caller) {
    let name = "bench/judged".parse().unwrap();
    let model = registry.create_model(admin, &name, ModelKind::Model, Visibility::Public).await.unwrap();
    let bytes = weighhouse_tests::gguf::TinyLlama::new().build();
    let file = FileSpec { path: "w.gguf".into(), sha256: Sha256Digest::of(&bytes), size: bytes.len() as u64 };
    let declared = registry.declare_uploads(admin, "bench", std::slice::from_ref(&file)).await.unwrap();
    let session = declared[0].session.clone().unwrap();
    let body = stream::iter([Ok(bytes::Bytes::from(bytes))]);
    registry.write_upload(admin, &session, 0, body).await.unwrap();
    let commit =
        Commit { branch: "main".into(), expected: Expected::Absent, message: String::new(), files: vec![file] };
    let revision = registry.commit(admin, &model, commit).await.unwrap().revision;
    while let Some(lease) = registry.claim_job(Claim::default()).await.unwrap() {
        if let JobOutcome::Probe(task) = registry.run_job(&lease).await.unwrap() {
            registry.finish_probe(&lease, &task, passed()).await.unwrap();
        }
    }
    let mut found = Vec::new();
    for _ in 0..2000 {
        let started = Instant::now();
        assert!(registry.live_decision(&model, &revision, "development").await.unwrap().is_some());
        found.push(started.elapsed());
    }
    print(database, "a stored decision is found", &mut found, "median 2 ms");
    let mut fresh = Vec::new();
    for users in 0..300 {
        let stated_use: Use = format!("monthly_users={users}").parse().unwrap();
        let question = Question { environment: "production".into(), stated_use };
        let started = Instant::now();
        registry.decide(&model, &revision, &question).await.unwrap();
        fresh.push(started.elapsed());
    }
    print(database, "a fresh decision with its durable write", &mut fresh, "");
}

fn passed() -> ProbeReport {
    let report = serde_json::json!({
        "schema_version": 1, "verdict": ProbeVerdict::Passed, "reason": "bench", "engine": "none",
        "engine_version": "0", "device": "cpu", "threads": 1, "levels": [], "findings": [],
    });
    serde_json::from_value(report).unwrap()
}

/// Rows as a push would leave them, written in bulk.
async fn seed(db: &DatabaseConnection) {
    for start in (0..MODELS).step_by(ROWS) {
        let rows = |row: fn(usize) -> String| (start..start + ROWS).map(row).collect::<Vec<_>>().join(",");
        let tables = [
            ("model (id, kind, visibility, created_at, created_by)", rows(model_row)),
            ("model_name (model_id, namespace, name, valid_from)", rows(name_row)),
            (
                "catalog_entry (model_id, namespace, name, kind, visibility, updated_at, license, openness, format, \
                 architecture, quantization, parameters, size)",
                rows(entry_row),
            ),
            ("catalog_term (term, namespace, name, model_id)", rows(term_rows)),
            ("catalog_verdict (model_id, environment, verdict, namespace, name)", rows(verdict_row)),
        ];
        for (table, rows) in tables {
            db.execute_unprepared(&format!("INSERT INTO {table} VALUES {rows}")).await.unwrap();
        }
    }
    db.execute_unprepared("ANALYZE").await.unwrap();
}

const FAMILIES: [&str; 10] =
    ["llama", "mistral", "qwen", "gemma", "phi", "falcon", "olmo", "granite", "deepseek", "smollm"];
const SIZES: [&str; 6] = ["1b", "3b", "7b", "8b", "14b", "70b"];
const LICENSES: [(&str, &str); 4] = [
    ("Apache-2.0", "open-weight-permissive"),
    ("MIT", "open-weight-permissive"),
    ("LicenseRef-llama3.1", "open-weight-restricted"),
    ("CC-BY-NC-4.0", "open-weight-restricted"),
];
const QUANTIZATIONS: [&str; 5] = ["Q4_K", "Q8_0", "BF16", "F16", "IQ4_XS"];

fn family(number: usize) -> &'static str {
    FAMILIES[number % FAMILIES.len()]
}

fn namespace(number: usize) -> String {
    format!("org{}", number % 977)
}

fn model(number: usize) -> String {
    format!("{}-{}-tune{number}", family(number), SIZES[number / 7 % SIZES.len()])
}

fn id(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

fn visibility(number: usize) -> &'static str {
    ["public", "public", "internal", "private"][number / 3 % 4]
}

fn model_row(number: usize) -> String {
    format!("('{}', 'model', '{}', 1, 'bench')", id(number), visibility(number))
}

fn name_row(number: usize) -> String {
    format!("('{}', '{}', '{}', 1)", id(number), namespace(number), model(number))
}

fn entry_row(number: usize) -> String {
    let (license, openness) = LICENSES[number / 11 % LICENSES.len()];
    let quantization = QUANTIZATIONS[number / 13 % QUANTIZATIONS.len()];
    format!(
        "('{}', '{}', '{}', 'model', '{}', 1, '{license}', '{openness}', 'gguf', '{}', '{quantization}', 7000000000, 1)",
        id(number),
        namespace(number),
        model(number),
        visibility(number),
        family(number)
    )
}

fn term_rows(number: usize) -> String {
    let (namespace, model) = (namespace(number), model(number));
    let terms = [&namespace, family(number), SIZES[number / 7 % SIZES.len()], &format!("tune{number}")];
    let row = |term: &&str| format!("('{term}', '{namespace}', '{model}', '{}')", id(number));
    terms.iter().map(row).collect::<Vec<_>>().join(",")
}

fn verdict_row(number: usize) -> String {
    let verdict = if number.is_multiple_of(3) { "denied" } else { "allowed" };
    format!("('{}', 'development', '{verdict}', '{}', '{}')", id(number), namespace(number), model(number))
}

async fn catalog(database: &str, registry: &Registry, admin: &Caller) {
    let query = || CatalogQuery { environment: "development".into(), ..CatalogQuery::default() };
    let search = |words: &str| CatalogQuery { search: Some(words.into()), ..query() };
    let some = |text: &str| Some(text.to_owned());
    let nobody = Caller::anonymous("development");
    let cases: [(&str, CatalogQuery, Option<&str>, &Caller); 12] = [
        ("everything", query(), None, admin),
        ("everything, as a stranger", query(), None, &nobody),
        ("deep in the list", query(), Some("org7/llama-7b-tune50000"), admin),
        ("one common word", search("llama"), None, admin),
        ("one rare word", search("tune4242"), None, admin),
        ("beginning of many words", search("tune4"), None, admin),
        ("two common words", search("qwen 70b"), None, admin),
        ("a common and a rare word", search("llama tune99990"), None, admin),
        ("a license", CatalogQuery { license: some("MIT"), ..query() }, None, admin),
        (
            "architecture and quantization",
            CatalogQuery { architecture: some("gemma"), quantization: some("Q4_K"), ..query() },
            None,
            admin,
        ),
        ("a verdict", CatalogQuery { verdict: some("denied"), ..query() }, None, admin),
        (
            "word, openness and verdict, as a stranger",
            CatalogQuery {
                search: some("mistral"),
                openness: some("open-weight-restricted"),
                verdict: some("allowed"),
                ..query()
            },
            None,
            &nobody,
        ),
    ];
    let mut all = Vec::new();
    for (name, query, cursor, caller) in &cases {
        let page = PageRequest::new(Some(50), cursor.map(str::to_owned)).unwrap();
        let mut times = Vec::new();
        for _ in 0..30 {
            let started = Instant::now();
            registry.catalog(caller, query, &page).await.unwrap();
            times.push(started.elapsed());
        }
        all.extend(&times);
        print(database, &format!("catalog: {name}"), &mut times, "");
    }
    print(database, "catalog: all of these", &mut all, "p95 20 ms");
}

fn print(database: &str, what: &str, times: &mut [Duration], goal: &str) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    println!("| {database} | {what} | {:.2} | {:.2} | {goal} |", at(50), at(95));
}
