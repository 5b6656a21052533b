//! Tensors of stored weights: listed, searched, and recognized in other models.

use registry_core::{ModelInfo, PageRequest, Revision, TensorQuery, Visibility};
use verifier::evidence::{ProbeVerdict, WeightsAssessment};
use weighhouse_tests::safetensors::{Builder, Tensor};

use crate::support::{World, on_both_databases};

/// Values of a tensor that no other seed has.
fn values(seed: u16) -> Vec<f32> {
    (0..1024_u16).map(|index| f32::from(seed) * 2048.0 + f32::from(index)).collect()
}

fn tensor(name: &str, seed: u16) -> Tensor {
    Tensor::f32(name, &[32, 32], &values(seed))
}

fn weights(tensors: &[(&str, u16)]) -> Vec<u8> {
    tensors.iter().fold(Builder::new(), |file, (name, seed)| file.tensor(tensor(name, *seed))).build()
}

impl World {
    async fn model_of(&self, name: &str, visibility: Visibility, files: &[(&str, &[u8])]) -> (ModelInfo, Revision) {
        let model = self.model_seen_by(name, visibility).await;
        let revision = self.push(&model, files).await.revision;
        self.run_jobs(ProbeVerdict::Passed).await;
        (model, revision)
    }

    async fn assessment(&self, of: &(ModelInfo, Revision)) -> WeightsAssessment {
        self.registry.weights_assessment(&of.0, &of.1).await.unwrap().unwrap()
    }

    async fn warnings(&self, model: &ModelInfo) -> Vec<String> {
        let decision = self.decision(model, "development").await.unwrap();
        decision.warnings.into_iter().map(|warning| warning.code).collect()
    }
}

const BASE: [(&str, u16); 4] = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];
const TUNED: [(&str, u16); 4] = [("a", 1), ("b", 2), ("c", 3), ("d", 99)];

on_both_databases! {
    async fn a_base_that_nobody_declared_is_a_finding_of_the_gate(world: World) {
        world.model_of("acme/base", Visibility::Internal, &[("model.safetensors", &weights(&BASE))]).await;
        let tuned = world.model_of("acme/tuned", Visibility::Internal, &[("model.safetensors", &weights(&TUNED))]).await;
        let found = world.assessment(&tuned).await;
        assert_eq!(found.shared.len(), 1);
        let shared = &found.shared[0];
        assert_eq!((shared.model.as_str(), shared.tensors, shared.percent), ("acme/base", 3, 75));
        assert!(!shared.identical && !shared.declared);
        assert_eq!(found.findings[0].code, "UNDECLARED_BASE");
        assert!(world.warnings(&tuned.0).await.contains(&"UNDECLARED_BASE".to_owned()));
    }

    async fn a_declared_base_and_a_sibling_are_expected_to_share(world: World) {
        world.model_of("acme/base", Visibility::Internal, &[("model.safetensors", &weights(&BASE))]).await;
        let card: &[u8] = b"---\nbase_model: acme/base\n---\n";
        let tuned = weights(&TUNED);
        let tuned = world.model_of("acme/tuned", Visibility::Internal, &[("model.safetensors", &tuned), ("README.md", card)]).await;
        assert!(world.assessment(&tuned).await.findings.is_empty());
        let sibling = weights(&[("a", 1), ("b", 2), ("c", 7), ("d", 98)]);
        let sibling = world.model_of("acme/sibling", Visibility::Internal, &[("model.safetensors", &sibling), ("README.md", card)]).await;
        let found = world.assessment(&sibling).await;
        assert_eq!(found.shared.len(), 2);
        assert!(found.findings.is_empty(), "{:?}", found.findings);
        assert!(!world.warnings(&sibling.0).await.contains(&"UNDECLARED_BASE".to_owned()));
    }

    async fn the_same_weights_in_other_shards_are_known_as_such(world: World) {
        let whole = world.model_of("acme/whole", Visibility::Internal, &[("model.safetensors", &weights(&BASE))]).await;
        let (one, two) = (weights(&BASE[2..]), weights(&BASE[..2]));
        let files: [(&str, &[u8]); 2] = [("model-00001-of-00002.safetensors", &one), ("model-00002-of-00002.safetensors", &two)];
        let sharded = world.model_of("acme/sharded", Visibility::Internal, &files).await;
        let found = world.assessment(&sharded).await;
        assert_eq!(found.weights_digest, world.assessment(&whole).await.weights_digest);
        assert!(found.shared[0].identical);
        assert_eq!(found.shared[0].percent, 100);
        assert!(found.findings[0].detail.contains("all weights of acme/whole"), "{}", found.findings[0].detail);
    }

    async fn constant_and_tiny_tensors_tell_nothing(world: World) {
        let ones = |seed| {
            let file = Builder::new().tensor(Tensor::f32("norm", &[1024], &[1.0; 1024])).tensor(Tensor::f32("bias", &[2], &[0.5, 0.25]));
            file.tensor(tensor("own", seed)).build()
        };
        world.model_of("acme/one", Visibility::Internal, &[("model.safetensors", &ones(1))]).await;
        let two = world.model_of("acme/two", Visibility::Internal, &[("model.safetensors", &ones(2))]).await;
        assert!(world.assessment(&two).await.shared.is_empty());
    }

    async fn a_model_that_not_everybody_may_see_is_not_told_of(world: World) {
        world.model_of("secret/base", Visibility::Private, &[("model.safetensors", &weights(&BASE))]).await;
        let tuned = world.model_of("acme/tuned", Visibility::Internal, &[("model.safetensors", &weights(&TUNED))]).await;
        assert!(world.assessment(&tuned).await.shared.is_empty());
        assert!(!world.warnings(&tuned.0).await.contains(&"UNDECLARED_BASE".to_owned()));
        // Nor to those of another namespace, however few see their own.
        let private = world.model_of("acme/private", Visibility::Private, &[("model.safetensors", &weights(&TUNED))]).await;
        let told: Vec<String> = world.assessment(&private).await.shared.into_iter().map(|found| found.model).collect();
        assert_eq!(told, ["acme/tuned"]);
    }

    async fn tensors_are_listed_searched_and_paged(world: World) {
        let names: Vec<String> = (0..7).map(|number| format!("blk.{number}.100%_w")).collect();
        let tensors: Vec<(&str, u16)> = names.iter().map(String::as_str).zip(1..).collect();
        let of = world.model_of("acme/m", Visibility::Internal, &[("b.safetensors", &weights(&tensors)), ("a.safetensors", &weights(&BASE[..1]))]).await;
        let list = async |query: TensorQuery, limit, cursor| {
            world.registry.list_tensors(&of.1, &query, &PageRequest::new(Some(limit), cursor).unwrap()).await.unwrap()
        };
        let first = list(TensorQuery::default(), 3, None).await;
        assert_eq!(first.items[0].path, "a.safetensors");
        assert_eq!((first.items[1].name.as_str(), first.items[1].shape.as_slice()), ("blk.0.100%_w", [32, 32].as_slice()));
        assert_eq!(first.items[1].sha256.as_ref().unwrap().len(), 64);
        let (mut seen, mut cursor) = (first.items, first.next);
        while let Some(next) = cursor {
            let page = list(TensorQuery::default(), 3, Some(next)).await;
            seen.extend(page.items);
            cursor = page.next;
        }
        assert_eq!(seen.len(), 8);
        let search = |text: &str| TensorQuery { search: text.to_owned(), path: None };
        assert_eq!(list(search("0%_W"), 50, None).await.items.len(), 7);
        assert_eq!(list(search("0__w"), 50, None).await.items.len(), 0, "wildcards are text");
        assert_eq!(world.registry.count_tensors(&of.1, &search("blk.3")).await.unwrap(), 1);
        let of_file = TensorQuery { search: String::new(), path: Some("a.safetensors".to_owned()) };
        assert_eq!(list(of_file, 50, None).await.items.len(), 1);
    }
}
