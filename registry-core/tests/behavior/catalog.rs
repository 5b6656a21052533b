//! The catalog: search, filters, paging and what stays invisible.

use registry_core::{Caller, CatalogOrder, CatalogQuery, ModelChange, PageRequest, Role, Visibility};
use verifier::evidence::ProbeVerdict;

use crate::support::{World, on_both_databases, tiny_model};

fn query() -> CatalogQuery {
    CatalogQuery { environment: "development".into(), ..CatalogQuery::default() }
}

async fn names(world: &World, caller: &Caller, query: &CatalogQuery) -> Vec<String> {
    let page = PageRequest::new(Some(100), None).unwrap();
    let found = world.registry.catalog(caller, query, &page).await.unwrap();
    found.items.into_iter().map(|item| item.name.to_string()).collect()
}

/// All pages of two, joined.
async fn paged(world: &World, caller: &Caller, query: &CatalogQuery) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = PageRequest::new(Some(2), cursor).unwrap();
        let found = world.registry.catalog(caller, query, &page).await.unwrap();
        seen.extend(found.items.into_iter().map(|item| item.name.to_string()));
        cursor = found.next;
        if cursor.is_none() {
            return seen;
        }
    }
}

on_both_databases! {
    async fn by_last_change_every_visible_model_is_paged_once(world: World) {
        let mut expected = Vec::new();
        for name in ["acme/c", "acme/a", "acme/d", "acme/b", "acme/e"] {
            world.model_seen_by(name, Visibility::Public).await;
            expected.insert(0, name);
        }
        world.model_seen_by("acme/hidden", Visibility::Private).await;
        let nobody = Caller::anonymous("development");
        let query = CatalogQuery { order: CatalogOrder::Updated, ..query() };
        // All in one millisecond: the order among them is fixed all the same.
        world.execute("UPDATE catalog_entry SET updated_at = 1").await;
        assert_eq!(paged(&world, &nobody, &query).await, expected);
        world.execute("UPDATE catalog_entry SET updated_at = 3 WHERE name = 'c'").await;
        world.execute("UPDATE catalog_entry SET updated_at = 2 WHERE name = 'b'").await;
        assert_eq!(paged(&world, &nobody, &query).await, ["acme/c", "acme/b", "acme/e", "acme/d", "acme/a"]);
        assert_eq!(paged(&world, &world.admin, &query).await.len(), 6);
        let foreign = PageRequest::new(Some(2), Some("acme/c".into())).unwrap();
        assert!(world.registry.catalog(&nobody, &query, &foreign).await.is_err());
    }

    async fn a_push_moves_a_model_to_the_head_of_the_last_changed(world: World) {
        let model = world.model("acme/a").await;
        world.model("acme/b").await;
        world.execute("UPDATE catalog_entry SET updated_at = 1").await;
        world.push(&model, &[("note", b"n")]).await;
        let query = CatalogQuery { order: CatalogOrder::Updated, ..query() };
        assert_eq!(names(&world, &world.admin, &query).await, ["acme/a", "acme/b"]);
    }

    async fn search_finds_words_by_their_beginning(world: World) {
        for name in ["meta/Llama-3.1-8B", "meta/Llama-2-7b", "mistral/Mistral-7B"] {
            world.model(name).await;
        }
        for (search, expected) in [
            ("llama", vec!["meta/Llama-2-7b", "meta/Llama-3.1-8B"]),
            ("LLA 8b", vec!["meta/Llama-3.1-8B"]),
            ("7b", vec!["meta/Llama-2-7b", "mistral/Mistral-7B"]),
            ("ama", vec![]),
            ("", vec!["meta/Llama-2-7b", "meta/Llama-3.1-8B", "mistral/Mistral-7B"]),
        ] {
            let query = CatalogQuery { search: Some(search.into()), ..query() };
            assert_eq!(names(&world, &world.admin, &query).await, expected, "{search}");
        }
    }

    async fn facts_and_verdicts_filter(world: World) {
        let model = world.model("acme/tiny").await;
        world.model("acme/empty").await;
        world.push(&model, &[("w.gguf", &tiny_model())]).await;
        let verdict = |verdict: &str, environment: &str| {
            CatalogQuery { verdict: Some(verdict.into()), environment: environment.into(), ..query() }
        };
        assert_eq!(names(&world, &world.admin, &verdict("pending", "development")).await, ["acme/empty", "acme/tiny"]);
        world.run_jobs(ProbeVerdict::Passed).await;
        assert_eq!(names(&world, &world.admin, &verdict("allowed", "development")).await, ["acme/tiny"]);
        assert_eq!(names(&world, &world.admin, &verdict("denied", "production")).await, ["acme/tiny"]);
        assert_eq!(names(&world, &world.admin, &verdict("pending", "development")).await, ["acme/empty"]);
        for query in [
            CatalogQuery { architecture: Some("llama".into()), ..query() },
            CatalogQuery { openness: Some("open-weight-permissive".into()), license: Some("Apache-2.0".into()), ..query() },
        ] {
            assert_eq!(names(&world, &world.admin, &query).await, ["acme/tiny"], "{query:?}");
        }
        let (maybe, page) = (verdict("maybe", "development"), crate::support::first_page());
        assert!(world.registry.catalog(&world.admin, &maybe, &page).await.is_err());
        // A new revision is unknown again.
        world.push(&model, &[("w.gguf", &tiny_model()), ("note", b"n")]).await;
        assert_eq!(names(&world, &world.admin, &verdict("allowed", "development")).await, Vec::<String>::new());
    }

    async fn lists_show_only_what_the_caller_may_know(world: World) {
        world.model_seen_by("acme/private", Visibility::Private).await;
        world.model_seen_by("acme/internal", Visibility::Internal).await;
        world.model_seen_by("acme/public", Visibility::Public).await;
        let member = world.member("ada", "acme", Role::Reader).await;
        let stranger = world.caller("eve", Role::Admin).await;
        let nobody = Caller::anonymous("development");
        assert_eq!(names(&world, &member, &query()).await, ["acme/internal", "acme/private", "acme/public"]);
        assert_eq!(names(&world, &stranger, &query()).await, ["acme/internal", "acme/public"]);
        assert_eq!(names(&world, &nobody, &query()).await, ["acme/public"]);
    }

    async fn renamed_and_deleted_models_move_and_leave(world: World) {
        let model = world.model("acme/before").await;
        let change = ModelChange { name: Some("acme/after".parse().unwrap()), visibility: None };
        world.registry.change_model(&world.admin, &model.name, change).await.unwrap();
        let search = |word: &str| CatalogQuery { search: Some(word.into()), ..query() };
        assert_eq!(names(&world, &world.admin, &search("after")).await, ["acme/after"]);
        assert!(names(&world, &world.admin, &search("before")).await.is_empty());
        world.registry.delete_model(&world.admin, &"acme/after".parse().unwrap()).await.unwrap();
        assert!(names(&world, &world.admin, &query()).await.is_empty());
    }

    async fn pages_follow_byte_order_on_both_databases(world: World) {
        let expected = ["acme/A", "acme/B", "acme/Z9", "acme/_x", "acme/a", "acme/b"];
        for name in ["acme/b", "acme/A", "acme/_x", "acme/Z9", "acme/a", "acme/B"] {
            world.model(name).await;
        }
        assert_eq!(paged(&world, &world.admin, &query()).await, expected);
    }
}
