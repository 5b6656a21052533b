//! Proving the whole log: every leaf from its event, every head from its leaves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use utoipa::ToSchema;
use verifier::provenance::transparency::merkle::{self, Hash, Node};
use verifier::provenance::transparency::{self, Frontier, NoteVerifier};

use super::access_log::{batch_digest, batch_entries};
use super::{Leaf, person_hash};
use crate::entity::{audit_checkpoint, audit_event, audit_leaf, audit_node, audit_person};
use crate::error::Result;
use crate::keys::{KeyInfo, KeyPurpose};
use crate::registry::Registry;

const BATCH: u64 = 1000;
/// Problems listed; the rest are counted.
const MAX_PROBLEMS: usize = 100;

/// The result of verifying the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditReport {
    /// Leaves whose events were hashed again.
    pub leaves: u64,
    /// Signed heads that were checked.
    pub checkpoints: u64,
    /// Events that were committed but have no place in the tree yet.
    pub unsequenced: u64,
    pub problem_count: u64,
    /// The first problems found.
    pub problems: Vec<Problem>,
}

impl AuditReport {
    pub const fn is_intact(&self) -> bool {
        self.problem_count == 0
    }

    fn add(&mut self, code: &'static str, detail: String) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { code, detail });
        }
    }
}

/// Something that is not as it was when it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// UPPER_SNAKE.
    pub code: &'static str,
    pub detail: String,
}

impl Registry {
    /// Recomputes the whole log and compares it with every signed head.
    ///
    /// `known` are checkpoints kept outside of the database: with one of them even a log whose
    /// newest part was cut off together with its heads is found out.
    pub async fn verify_audit_log(&self, known: &[String]) -> Result<AuditReport> {
        let mut report = AuditReport::default();
        let mut tree = Tree::default();
        let mut heads = self.signed_heads(known, &mut report).await?;
        let mut next = 0_i64;
        loop {
            let leaves = leaves_from(&self.db, next).await?;
            let Some(last) = leaves.last() else { break };
            let after = last.leaf_index + 1;
            let events = Events::of(&self.db, &leaves).await?;
            for leaf in &leaves {
                if leaf.leaf_index != next {
                    report.add("LEAF_MISSING", format!("leaf {next} is missing"));
                }
                next = leaf.leaf_index + 1;
                self.check_leaf(leaf, &events, &mut tree, &mut report).await?;
                check_head(&tree.frontier, &mut heads, &mut report);
            }
            self.check_nodes(&mut tree, &mut report).await?;
            next = after;
        }
        for (size, _) in heads {
            report
                .add("LOG_TRUNCATED", format!("a signed head covers {size} leaves, but the log has {}", report.leaves));
        }
        if audit_node::Entity::find().count(&self.db).await? > tree.nodes {
            report.add("NODE_CHANGED", "the tree has hashes of leaves that the log does not have".to_owned());
        }
        self.check_unsequenced(&mut report).await?;
        Ok(report)
    }

    /// Stored and given heads by size, after their signatures were checked.
    async fn signed_heads(&self, known: &[String], report: &mut AuditReport) -> Result<BTreeMap<u64, Vec<Head>>> {
        let keys = self.verified_keys(report).await?;
        let mut signers = Vec::new();
        let rows = audit_checkpoint::Entity::find().order_by_asc(audit_checkpoint::Column::TreeSize).all(&self.db);
        let mut heads: BTreeMap<u64, Vec<Head>> = BTreeMap::new();
        for row in rows.await? {
            report.checkpoints += 1;
            let head = open_head(&row.note, &keys, &mut signers, report);
            let size = u64::try_from(row.tree_size).unwrap_or_default();
            if head.as_ref().is_some_and(|head| head.size != size || hex::encode(head.root) != row.root_hash) {
                report.add("CHECKPOINT_CHANGED", format!("the checkpoint of size {size} is not what was signed"));
            }
            let root = head.map(|head| head.root);
            heads.entry(size).or_default().push(Head { root, frontier: Some(row.frontier) });
        }
        for note in known {
            if let Some(head) = open_head(note, &keys, &mut signers, report) {
                heads.entry(head.size).or_default().push(Head { root: Some(head.root), frontier: None });
            }
        }
        check_signers(signers, report);
        heads.remove(&0);
        Ok(heads)
    }

    /// The checkpoint keys, oldest first, after each but the first was found to be named by the
    /// one before it; the same for the keys of statements.
    async fn verified_keys(&self, report: &mut AuditReport) -> Result<Vec<NoteVerifier>> {
        let keys = self.keys().await?;
        for pair in keys.windows(2) {
            let [before, key] = pair else { continue };
            if key.purpose == before.purpose && !key.succeeds(before) {
                let purpose = key.purpose.as_str();
                report.add("KEY_CHANGED", format!("{purpose} key {} was not named by the key before it", key.id));
            }
        }
        keys.iter().filter(|key| key.purpose == KeyPurpose::Checkpoint).map(KeyInfo::note_verifier).collect()
    }

    /// The stored hashes of the subtrees that the last leaves completed.
    async fn check_nodes(&self, tree: &mut Tree, report: &mut AuditReport) -> Result<()> {
        for (node, hash) in std::mem::take(&mut tree.completed) {
            let (level, index) = (node.level / 8, i64::try_from(node.index).unwrap_or(i64::MAX));
            let stored = audit_node::Entity::find_by_id((i32::from(level), index)).one(&self.db).await?;
            tree.nodes += 1;
            match stored {
                Some(row) if row.hash == hex::encode(hash) => {}
                Some(_) => {
                    report.add("NODE_CHANGED", format!("hash {index} of level {level} is not that of the leaves"));
                }
                None => report.add("NODE_MISSING", format!("hash {index} of level {level} is missing")),
            }
        }
        Ok(())
    }

    async fn check_leaf(
        &self,
        leaf: &audit_leaf::Model,
        events: &Events,
        tree: &mut Tree,
        report: &mut AuditReport,
    ) -> Result<()> {
        report.leaves += 1;
        let index = leaf.leaf_index;
        let Some(event) = events.by_id.get(&leaf.event_id) else {
            report.add("EVENT_MISSING", format!("the event of leaf {index} is missing"));
            return Ok(());
        };
        let hash = merkle::leaf_hash(event.body.as_bytes());
        if hex::encode(hash) != leaf.leaf_hash {
            report.add("EVENT_CHANGED", format!("event {} of leaf {index} is not what was logged", event.id));
        }
        match tree.frontier.append(hash) {
            Ok(completed) => tree.completed.extend(completed.into_iter().filter(is_stored)),
            Err(_) => report.add("LOG_TOO_LONG", format!("leaf {index} does not fit into the tree")),
        }
        match Leaf::of(event) {
            Ok(parsed) => self.check_event(event, events, &parsed, report).await,
            Err(error) => {
                report.add("EVENT_UNREADABLE", format!("event {}: {error}", event.id));
                Ok(())
            }
        }
    }

    /// The columns and rows beside the leaf must say what the leaf says.
    async fn check_event(
        &self,
        event: &audit_event::Model,
        events: &Events,
        leaf: &Leaf,
        report: &mut AuditReport,
    ) -> Result<()> {
        let same = leaf.id == event.id && leaf.kind == event.kind && leaf.at == event.occurred_at;
        if !same || leaf.model != event.model_id || !event.sequenced {
            report.add("EVENT_CHANGED", format!("the columns of event {} differ from its body", event.id));
        }
        for person in events.people.iter().filter(|person| person.event_id == event.id) {
            if leaf.people.get(&person.field) != Some(&person_hash(&person.salt, &person.subject)) {
                report.add("PERSON_CHANGED", format!("the {} of event {} was changed", person.field, event.id));
            }
        }
        if leaf.kind == "access.batch" {
            let entries = batch_entries(&self.db, &event.id).await?;
            if leaf.details.get("sha256").and_then(|digest| digest.as_str()) != Some(&batch_digest(&entries)) {
                report.add("ACCESS_CHANGED", format!("the reads bound by event {} were changed", event.id));
            }
        }
        Ok(())
    }

    async fn check_unsequenced(&self, report: &mut AuditReport) -> Result<()> {
        let waiting = audit_event::Entity::find().filter(audit_event::Column::Sequenced.eq(false));
        report.unsequenced = waiting.count(&self.db).await?;
        let logged =
            audit_event::Entity::find().filter(audit_event::Column::Sequenced.eq(true)).count(&self.db).await?;
        if logged > report.leaves {
            report.add("LEAF_MISSING", format!("{} logged events have no leaf", logged - report.leaves));
        }
        Ok(())
    }
}

/// The tree on the way through the leaves.
#[derive(Default)]
struct Tree {
    frontier: Frontier,
    /// Subtrees to be compared with what is stored of them.
    completed: Vec<(Node, Hash)>,
    /// How many were compared.
    nodes: u64,
}

/// Of 256 hashes of a level, one of the level above is stored.
const fn is_stored((node, _): &(Node, Hash)) -> bool {
    node.level > 0 && node.level.is_multiple_of(8)
}

/// Opens a head and notes its size with the place of its key among the log's.
fn open_head(
    note: &str,
    keys: &[NoteVerifier],
    signers: &mut Vec<(u64, usize)>,
    report: &mut AuditReport,
) -> Option<transparency::Checkpoint> {
    let opened = keys.iter().enumerate().find_map(|(place, key)| {
        let head = transparency::Checkpoint::open(note, key).ok()?;
        Some((head, place))
    });
    let Some((head, place)) = opened else {
        let error = transparency::Checkpoint::open_by_any(note, keys).err();
        report.add("CHECKPOINT_SIGNATURE", error.map(|error| error.to_string()).unwrap_or_default());
        return None;
    };
    signers.push((head.size, place));
    Some(head)
}

/// A key that has ended signs no log as long as one that its successor signed: the rotation itself
/// is a leaf of that.
fn check_signers(mut signers: Vec<(u64, usize)>, report: &mut AuditReport) {
    signers.sort_unstable_by_key(|(size, place)| (*size, Reverse(*place)));
    let mut newest = 0;
    for (size, place) in signers {
        if place < newest {
            report.add("CHECKPOINT_KEY", format!("the head of size {size} is signed by a key that had ended"));
        }
        newest = newest.max(place);
    }
}

/// The events of a batch of leaves with the people behind them.
struct Events {
    by_id: HashMap<String, audit_event::Model>,
    people: Vec<audit_person::Model>,
}

impl Events {
    async fn of(connection: &impl ConnectionTrait, leaves: &[audit_leaf::Model]) -> Result<Self> {
        let ids = || leaves.iter().map(|leaf| leaf.event_id.as_str());
        let events = audit_event::Entity::find().filter(audit_event::Column::Id.is_in(ids())).all(connection);
        let by_id = events.await?.into_iter().map(|event| (event.id.clone(), event)).collect();
        let people = audit_person::Entity::find().filter(audit_person::Column::EventId.is_in(ids()));
        Ok(Self { by_id, people: people.all(connection).await? })
    }
}

/// A head to be met on the way through the leaves.
struct Head {
    root: Option<Hash>,
    frontier: Option<String>,
}

fn check_head(frontier: &Frontier, heads: &mut BTreeMap<u64, Vec<Head>>, report: &mut AuditReport) {
    let size = frontier.size();
    for head in heads.remove(&size).unwrap_or_default() {
        if head.root.is_some_and(|root| root != frontier.root()) {
            report.add("ROOT_MISMATCH", format!("the first {size} leaves do not have the signed root"));
        }
        let stored = head.frontier.map(|text| serde_json::from_str::<Frontier>(&text).ok());
        if stored.is_some_and(|stored| stored.as_ref() != Some(frontier)) {
            report.add("CHECKPOINT_CHANGED", format!("the stored frontier of size {size} is not that of the leaves"));
        }
    }
}

async fn leaves_from(connection: &impl ConnectionTrait, index: i64) -> Result<Vec<audit_leaf::Model>> {
    Ok(audit_leaf::Entity::find()
        .filter(audit_leaf::Column::LeafIndex.gte(index))
        .order_by_asc(audit_leaf::Column::LeafIndex)
        .limit(BATCH)
        .all(connection)
        .await?)
}
