//! The route table against callers that must not get in, and against the documentation.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use registry_core::{InstanceKeys, KeyDocuments, NewToken, Opening, Registry, Role, Settings, Storage};
use verifier::policy::Policy;

use super::access::Permission;
use super::problem::Problem;
use super::{State, configure, routes};

struct World {
    state: web::Data<State>,
    admin: String,
    reader: String,
    _folder: tempfile::TempDir,
}

async fn world(anonymous_read: bool) -> World {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(Opening {
        database_url: format!("sqlite://{}?mode=rwc", folder.path().join("registry.sqlite").display()),
        storage: Storage::Local(folder.path().join("objects")),
        keys: InstanceKeys::new(&KeyDocuments::generate().unwrap(), "registry.example.org/audit").unwrap(),
        policy: Policy::standard().unwrap(),
        settings: Settings {
            default_environment: "development".into(),
            max_file_bytes: 1 << 20,
            upload_session_ttl_ms: 60_000,
            xet_xorb_grace_ms: 86_400_000,
            lease_ms: 60_000,
            trust: registry_core::TrustSettings::default(),
            catalog: std::sync::Arc::new(verifier::license::Catalog::built_in().clone()),
            probe_version: "test".into(),
            probe_configuration: "none".into(),
        },
    })
    .await
    .unwrap();
    let admin = registry.first_admin_token().await.unwrap().unwrap().secret;
    let caller = registry.authenticate(&admin).await.unwrap().unwrap();
    let new = NewToken {
        label: "reader".into(),
        subject: Some("rea".into()),
        scope: Role::Reader,
        namespaces: None,
        environment: None,
        expires_at: None,
    };
    let reader = registry.issue_token(&caller, new).await.unwrap().secret;
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    let public_url = "http://registry.example.org".to_owned();
    let state = web::Data::new(State {
        registry,
        anonymous_read,
        public_url,
        trusted_proxies: Vec::new(),
        multipart_bytes: 1 << 20,
        xet_download_bytes: 1 << 40,
        metrics,
        silence: Duration::from_mins(1),
    });
    World { state, admin, reader, _folder: folder }
}

/// A request to a route, with harmless values for its parameters.
fn request(entry: &routes::Entry, token: Option<&str>) -> TestRequest {
    let mut path = entry.path.replace("{path:.*}", "file").replace("{kind}", "branch").replace("{part}", "1");
    while let Some((before, rest)) = path.clone().split_once('{') {
        let (_, after) = rest.split_once('}').unwrap();
        path = format!("{before}x{after}");
    }
    let request = TestRequest::with_uri(&path).method(entry.method.clone());
    match token {
        Some(token) => request.insert_header(("Authorization", format!("Bearer {token}"))),
        None => request,
    }
}

async fn status<S, B>(app: &S, request: TestRequest) -> StatusCode
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    call_service(app, request.to_request()).await.status()
}

#[actix_web::test]
async fn the_public_routes_are_the_reviewed_ones() {
    let public: Vec<String> = routes::all()
        .entries
        .iter()
        .filter(|entry| entry.permission == Permission::Public)
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    let reviewed = [
        "GET /healthz",
        "GET /readyz",
        "GET /openapi.json",
        "GET /log/checkpoint",
        "GET /log/trusted_root.json",
        "GET /log/tile/{level}/{path:.*}",
        "GET /",
        "GET /assets/style.css",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
        "GET /api/agent-harnesses",
    ];
    assert_eq!(public, reviewed);
}

#[actix_web::test]
async fn without_a_token_only_public_routes_answer() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    for entry in routes::all().entries {
        let status = status(&app, request(&entry, None)).await;
        let refused = status == StatusCode::UNAUTHORIZED
            || entry.permission == Permission::Capability && status == StatusCode::FORBIDDEN;
        let public = entry.permission == Permission::Public;
        assert_eq!(refused, !public, "{} {} answered {status}", entry.method, entry.path);
    }
}

#[actix_web::test]
async fn an_api_token_opens_no_route_that_needs_a_capability() {
    let world = world(true).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    for entry in routes::all().entries.iter().filter(|entry| entry.permission == Permission::Capability) {
        let status = status(&app, request(entry, Some(&world.admin))).await;
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        assert!(refused, "{} {} answered {status}", entry.method, entry.path);
    }
}

#[actix_web::test]
async fn a_wrong_token_opens_no_route_that_needs_one() {
    let world = world(true).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let asks_for_a_token =
        |entry: &&routes::Entry| !matches!(entry.permission, Permission::Public | Permission::Capability);
    for entry in routes::all().entries.iter().filter(asks_for_a_token) {
        let status = status(&app, request(entry, Some("hf_0000"))).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {}", entry.method, entry.path);
    }
}

#[actix_web::test]
async fn a_readers_token_opens_no_route_above_its_scope() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    for entry in routes::all().entries {
        let status = status(&app, request(&entry, Some(&world.reader))).await;
        let above = match entry.permission {
            Permission::Scope(role) => role > Role::Reader,
            Permission::Capability => continue,
            Permission::Public | Permission::Read => false,
        };
        assert_eq!(status == StatusCode::FORBIDDEN, above, "{} {} answered {status}", entry.method, entry.path);
        assert!(!status.is_server_error(), "{} {} answered {status}", entry.method, entry.path);
    }
}

#[actix_web::test]
async fn errors_are_problem_documents_with_a_code_and_an_id() {
    let world = world(true).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let bearer = ("Authorization", format!("Bearer {}", world.admin));
    for (request, expected, code) in [
        (TestRequest::get().uri("/v1/models/acme/none"), StatusCode::NOT_FOUND, "not-found"),
        (TestRequest::get().uri("/v1/models/.bad/none"), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        (TestRequest::get().uri("/nowhere"), StatusCode::NOT_FOUND, "no-such-route"),
        (TestRequest::get().uri("/v1/models?limit=x"), StatusCode::BAD_REQUEST, "invalid-query"),
        (TestRequest::get().uri("/v1/models?limit=0"), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        (
            TestRequest::post().uri("/v1/models").set_payload("{}"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
        ),
        (
            TestRequest::post().uri("/v1/models").set_payload("{").insert_header(("Content-Type", "application/json")),
            StatusCode::BAD_REQUEST,
            "invalid-json",
        ),
    ] {
        let response = call_service(&app, request.insert_header(bearer.clone()).to_request()).await;
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
        let problem: Problem = serde_json::from_slice(&read_body(response).await).unwrap();
        assert_eq!((problem.code.as_str(), problem.status), (code, expected.as_u16()));
        assert!(!problem.error_id.is_empty());
    }
}

#[actix_web::test]
async fn browsers_are_led_to_sign_in_and_shown_pages() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let page = |uri: &str| TestRequest::get().uri(uri).insert_header(("Accept", "text/html")).to_request();
    let response = call_service(&app, page("/models")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers().get("location").unwrap(), "/sign-in");
}

#[actix_web::test]
async fn signing_in_needs_the_forms_own_secret_and_a_valid_token() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let submit = |cookie: &str, csrf: &str, token: &str| {
        TestRequest::post()
            .uri("/sign-in")
            .insert_header(("Cookie", format!("weighhouse_csrf={cookie}")))
            .set_form([("csrf", csrf), ("token", token)])
            .to_request()
    };
    for refused in [submit("a", "b", &world.admin), submit("", "", &world.admin), submit("a", "a", "hf_wrong")] {
        assert_eq!(call_service(&app, refused).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let response = call_service(&app, submit("a", "a", &world.admin)).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.headers().get("set-cookie").unwrap().to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let session = cookie.split(';').next().unwrap().to_owned();
    let page = TestRequest::get().uri("/models").insert_header(("Cookie", session)).to_request();
    assert_eq!(call_service(&app, page).await.status(), StatusCode::OK);
}

#[test]
fn every_route_of_the_api_is_documented_and_nothing_else() {
    let mut routed = BTreeSet::new();
    // What the clients of others speak is not this API.
    for entry in routes::all().entries.into_iter().filter(|entry| entry.facade == routes::Facade::Native) {
        let page = entry.path == "/"
            || ["/assets", "/licenses", "/models", "/reports", "/sign"].iter().any(|page| entry.path.starts_with(page));
        let hub = ["/api/", "/lfs/", "/xet/", "/{namespace}/"].iter().any(|hub| entry.path.starts_with(hub));
        if !page && !hub {
            let path = entry.path.replace("{path:.*}", "{path}");
            routed.insert((path, entry.method.to_string().to_lowercase()));
        }
    }
    let document = serde_json::to_value(crate::openapi::document()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((path.clone(), method.clone()));
        }
    }
    assert_eq!(routed, documented);
    assert!(routed.contains(&("/v1/gate".to_owned(), Method::POST.to_string().to_lowercase())));
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = serde_json::to_value(crate::openapi::document()).unwrap();
    let text = document.to_string();
    let references: BTreeSet<_> =
        text.split(r##""$ref":"#"##).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 40, "{references:?}");
    let lost: Vec<_> = references.iter().filter(|pointer| document.pointer(pointer).is_none()).collect();
    assert!(lost.is_empty(), "add to `components` in openapi.rs: {lost:?}");
}

#[actix_web::test]
async fn a_method_that_a_path_does_not_have_is_a_problem_that_names_the_others() {
    let world = world(true).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let response = call_service(&app, TestRequest::patch().uri("/v1/models").to_request()).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers().get("allow").unwrap(), "HEAD, GET, POST");
    let problem: Problem = serde_json::from_slice(&read_body(response).await).unwrap();
    assert_eq!(problem.code, "method-not-allowed");
}

#[actix_web::test]
async fn public_routes_answer_whatever_a_caller_presents() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    for credentials in ["Basic eDp5", "Bearer hf_unknown", "nonsense"] {
        let request = TestRequest::get().uri("/healthz").insert_header(("Authorization", credentials)).to_request();
        assert_eq!(call_service(&app, request).await.status(), StatusCode::OK, "{credentials}");
    }
}

#[test]
fn the_committed_openapi_document_is_the_codes() {
    let committed = include_str!("../../../openapi/openapi.json");
    let committed: serde_json::Value = serde_json::from_str(committed).unwrap();
    let generated = serde_json::to_value(crate::openapi::document()).unwrap();
    assert!(committed == generated, "openapi/openapi.json is stale: run `make openapi` and review the change");
}

#[actix_web::test]
async fn a_repeated_request_for_a_token_gives_the_same_token_and_another_request_is_refused() {
    let world = world(false).await;
    let app = init_service(App::new().configure(|config| configure(config, world.state.clone()))).await;
    let issue = |key: &str, body: &'static str| {
        TestRequest::post()
            .uri("/v1/tokens")
            .insert_header(("Authorization", format!("Bearer {}", world.admin)))
            .insert_header(("Idempotency-Key", key))
            .insert_header(("Content-Type", "application/json"))
            .set_payload(body)
            .to_request()
    };
    let mut answers = Vec::new();
    for body in [r#"{"scope":"reader","label":"a"}"#, r#"{ "label": "a", "scope": "reader" }"#] {
        let response = call_service(&app, issue("k", body)).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        answers.push(serde_json::from_slice::<serde_json::Value>(&read_body(response).await).unwrap());
    }
    assert_eq!(answers[0]["id"], answers[1]["id"]);
    assert_ne!(answers[0]["secret"], answers[1]["secret"]);
    let response = call_service(&app, issue("k", r#"{"scope":"reader","label":"b"}"#)).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let problem: Problem = serde_json::from_slice(&read_body(response).await).unwrap();
    assert_eq!(problem.code, "idempotency-key-reused");
    for key in ["", &"k".repeat(129)] {
        let response = call_service(&app, issue(key, r#"{"scope":"reader"}"#)).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{}", key.len());
    }
}
