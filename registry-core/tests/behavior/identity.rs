//! Names: their history, and that they never change hands.

use registry_core::{Error, KeyDocuments, ModelChange, ModelKind, ModelName, Opening, Role, Visibility};

use crate::support::{World, on_both_databases};

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn renamed(to: &str) -> ModelChange {
    ModelChange { name: Some(name(to)), visibility: None }
}

on_both_databases! {
    async fn an_old_name_keeps_leading_to_its_model(world: World) {
        let model = world.model("acme/first").await;
        world.registry.change_model(&world.admin, &model.name, renamed("acme/second")).await.unwrap();
        let found = world.registry.find_model(&world.admin, &name("acme/first")).await.unwrap();
        assert_eq!((found.id, found.name), (model.id.clone(), name("acme/second")));
        let history = world.registry.name_history(&model).await.unwrap();
        assert_eq!(history.len(), 2);
        assert!(history[0].valid_to.is_none() && history[1].valid_to == Some(history[0].valid_from));
    }

    async fn a_name_is_never_given_to_a_second_model(world: World) {
        let model = world.model("acme/first").await;
        let create = |text: &'static str| {
            let registry = world.registry.clone();
            let admin = world.admin.clone();
            async move { registry.create_model(&admin, &name(text), ModelKind::Model, Visibility::Public).await }
        };
        assert!(matches!(create("acme/first").await, Err(Error::Exists(_))));
        world.registry.change_model(&world.admin, &model.name, renamed("acme/second")).await.unwrap();
        assert!(matches!(create("acme/first").await, Err(Error::NameRetired(_))));
        world.registry.delete_model(&world.admin, &name("acme/second")).await.unwrap();
        assert!(matches!(create("acme/second").await, Err(Error::NameRetired(_))));
    }

    async fn a_model_may_return_to_its_own_old_name(world: World) {
        let model = world.model("acme/first").await;
        world.registry.change_model(&world.admin, &model.name, renamed("acme/second")).await.unwrap();
        world.registry.change_model(&world.admin, &name("acme/second"), renamed("acme/first")).await.unwrap();
        let found = world.registry.find_model(&world.admin, &name("acme/second")).await.unwrap();
        assert_eq!(found.name, name("acme/first"));
    }

    async fn deletion_is_a_tombstone(world: World) {
        let model = world.model("acme/m").await;
        world.push(&model, &[("a", b"a")]).await;
        world.registry.delete_model(&world.admin, &model.name).await.unwrap();
        assert!(matches!(world.registry.find_model(&world.admin, &model.name).await, Err(Error::Gone(_))));
        let stranger = world.caller("eve", Role::Admin).await;
        assert!(matches!(world.registry.find_model(&stranger, &model.name).await, Err(Error::NotFound(_))));
        assert_eq!(world.count("SELECT COUNT(*) FROM revision").await, 1);
        assert!(world.count("SELECT COUNT(*) FROM audit_event WHERE kind = 'model.deleted'").await == 1);
    }

    async fn a_second_process_with_another_key_does_not_start(world: World) {
        let foreign = KeyDocuments::generate().unwrap();
        for keys in [
            KeyDocuments { checkpoint: foreign.checkpoint, ..world.keys.clone() },
            KeyDocuments { statement: foreign.statement, ..world.keys.clone() },
        ] {
            let keys = registry_core::InstanceKeys::new(&keys, crate::support::ORIGIN).unwrap();
            let refused = registry_core::Registry::open(Opening { keys, ..world.opening() }).await;
            assert!(matches!(refused, Err(Error::ForeignKey { .. })));
        }
    }

    async fn a_schema_of_a_newer_release_is_refused(world: World) {
        world.execute("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 1)").await;
        let refused = registry_core::Registry::open(world.opening()).await;
        assert!(matches!(refused, Err(Error::SchemaTooNew(step)) if step == "m9999_future"));
    }
}
