//! Tokens and roles.

use registry_core::{Caller, Error, IdempotencyKey, NewToken, Role, Visibility, now_ms};

use crate::support::{World, first_page, new_token, on_both_databases};

on_both_databases! {
    async fn the_first_administrator_is_made_once(world: World) {
        assert!(world.registry.first_admin_token().await.unwrap().is_none());
        assert!(world.admin.is_site_admin());
        assert_eq!(world.count("SELECT COUNT(*) FROM api_token WHERE token_hash LIKE 'hf_%'").await, 0);
    }

    async fn ended_tokens_open_nothing(world: World) {
        let issue = |expires_at| {
            let registry = world.registry.clone();
            let admin = world.admin.clone();
            async move { registry.issue_token(&admin, NewToken { expires_at, ..new_token() }).await.unwrap() }
        };
        let expired = issue(Some(now_ms() - 1)).await;
        assert!(world.registry.authenticate(&expired.secret).await.unwrap().is_none());
        let revoked = issue(None).await;
        assert!(world.registry.authenticate(&revoked.secret).await.unwrap().is_some());
        world.registry.revoke_token(&world.admin, &revoked.info.id).await.unwrap();
        world.registry.revoke_token(&world.admin, &revoked.info.id).await.unwrap();
        assert!(world.registry.authenticate(&revoked.secret).await.unwrap().is_none());
        assert!(world.registry.authenticate("hf_unknown").await.unwrap().is_none());
    }

    async fn a_repeat_under_one_key_gives_the_same_token_a_new_secret(world: World) {
        let issue = |caller: Caller, key: &'static str, request: &'static [u8]| {
            let registry = world.registry.clone();
            async move { registry.issue_token_once(&caller, new_token(), IdempotencyKey::new(key, request).unwrap()).await }
        };
        let first = issue(world.admin.clone(), "k", b"r").await.unwrap();
        let second = issue(world.admin.clone(), "k", b"r").await.unwrap();
        assert_eq!(first.info.id, second.info.id);
        assert!(second.secret.ends_with(&second.info.hint));
        assert!(world.registry.authenticate(&first.secret).await.unwrap().is_none());
        assert!(world.registry.authenticate(&second.secret).await.unwrap().is_some());
        assert_eq!(world.count("SELECT COUNT(*) FROM audit_event WHERE kind = 'token.reissued'").await, 1);
        assert!(matches!(issue(world.admin.clone(), "k", b"another").await, Err(Error::KeyReused(_))));
        assert!(world.registry.authenticate(&second.secret).await.unwrap().is_some());
        // Another key and another caller are other requests.
        let ada = world.member("ada", "acme", Role::Writer).await;
        for other in [issue(world.admin.clone(), "l", b"r").await, issue(ada, "k", b"r").await] {
            assert_ne!(other.unwrap().info.id, first.info.id);
        }
        world.registry.revoke_token(&world.admin, &first.info.id).await.unwrap();
        assert!(matches!(issue(world.admin.clone(), "k", b"r").await, Err(Error::KeyReused(_))));
    }

    async fn two_first_requests_under_one_key_give_one_token(world: World) {
        let issue = || {
            let key = IdempotencyKey::new("k", b"r").unwrap();
            world.registry.issue_token_once(&world.admin, new_token(), key)
        };
        let (one, other) = tokio::join!(issue(), issue());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.info.id, other.info.id);
        let (one, other) = (world.registry.authenticate(&one.secret).await, world.registry.authenticate(&other.secret).await);
        assert_ne!(one.unwrap().is_some(), other.unwrap().is_some());
    }

    async fn a_token_cannot_issue_more_than_it_is(world: World) {
        let writer = world.member("wri", "acme", Role::Admin).await;
        let narrow = NewToken { scope: Role::Writer, namespaces: Some(vec!["acme".into()]), ..new_token() };
        let issued = world.registry.issue_token(&writer, narrow).await.unwrap();
        let narrow = world.registry.authenticate(&issued.secret).await.unwrap().unwrap();
        let forbidden = [
            NewToken { scope: Role::Admin, namespaces: Some(vec!["acme".into()]), ..new_token() },
            NewToken { scope: Role::Writer, namespaces: None, ..new_token() },
            NewToken { scope: Role::Writer, namespaces: Some(vec!["other".into()]), ..new_token() },
            NewToken { scope: Role::Reader, subject: Some("admin".into()), ..new_token() },
            NewToken { scope: Role::Reader, namespaces: Some(vec!["acme".into()]), environment: Some("production".into()), ..new_token() },
        ];
        for new in forbidden {
            let refused = world.registry.issue_token(&narrow, new.clone()).await;
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{new:?}");
        }
        let own = NewToken { scope: Role::Reader, namespaces: Some(vec!["acme".into()]), ..new_token() };
        world.registry.issue_token(&narrow, own).await.unwrap();
        assert_eq!(world.registry.list_tokens(&narrow, &first_page()).await.unwrap().items.len(), 3);
    }

    async fn a_role_that_ended_ends_at_once_and_stays_in_history(world: World) {
        let ada = world.member("ada", "acme", Role::Writer).await;
        assert_eq!(ada.role_in("acme"), Some(Role::Writer));
        world.registry.assign_role(&world.admin, "acme", "ada", None).await.unwrap();
        let ada = world.caller("ada", Role::Admin).await;
        assert_eq!(ada.role_in("acme"), None);
        assert_eq!(world.count("SELECT COUNT(*) FROM role_assignment WHERE subject = 'ada' AND valid_to IS NOT NULL").await, 1);
    }

    async fn only_admins_of_a_namespace_assign_roles_there(world: World) {
        let maintainer = world.member("mai", "acme", Role::Maintainer).await;
        let admin = world.member("adm", "acme", Role::Admin).await;
        let assign = |caller: Caller, namespace: &'static str| {
            let registry = world.registry.clone();
            async move { registry.assign_role(&caller, namespace, "new", Some(Role::Reader)).await }
        };
        assert!(matches!(assign(maintainer, "acme").await, Err(Error::Forbidden(_))));
        assign(admin.clone(), "acme").await.unwrap();
        assert!(matches!(assign(admin.clone(), "other").await, Err(Error::Forbidden(_))));
        assert!(matches!(assign(admin, "*").await, Err(Error::Forbidden(_))));
    }

    async fn models_that_may_not_be_known_do_not_exist(world: World) {
        let private = world.model_seen_by("acme/private", Visibility::Private).await;
        let internal = world.model_seen_by("acme/internal", Visibility::Internal).await;
        let public = world.model_seen_by("acme/public", Visibility::Public).await;
        let stranger = world.caller("eve", Role::Admin).await;
        let nobody = Caller::anonymous("development");
        for (caller, model, visible) in [
            (&stranger, &private, false), (&stranger, &internal, true), (&stranger, &public, true),
            (&nobody, &private, false), (&nobody, &internal, false), (&nobody, &public, true),
            (&world.admin, &private, true),
        ] {
            let found = world.registry.find_model(caller, &model.name).await;
            assert_eq!(found.is_ok(), visible, "{} sees {}", caller.subject(), model.name);
            assert!(visible || matches!(found, Err(Error::NotFound(_))));
        }
    }
}
