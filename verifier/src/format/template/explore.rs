//! Renders a template many times, and compares what it says.
//!
//! What a template says in its own words must not depend on what a message says, on how long
//! the conversation is, or on the day. So every constant that content is compared with is
//! tried as content, every decision that depends on content, number or day is forced both
//! ways, and what is said then is held against what is said in plain conversations.

use std::collections::{BTreeMap, BTreeSet};

use super::Rendered;
use super::conversation::{Body, Conversation};
use super::error::{Resource, TemplateError};
use super::json::escape;
use super::machine::{Decision, MAX_STEPS, Machine, Observations, Steering};
use super::prose::{Novelty, Speech};
use super::samples::{self, SAMPLES, Sample, Shape};
use super::text::{Origin, Span};
use super::tree::{SiteId, Tree};
use super::value::Taint;

/// Steps of all renderings of a template together.
const MAX_TOTAL_STEPS: u64 = 1_000_000;
/// Steps of them for ways that plain conversations do not take.
const MAX_COVER_STEPS: u64 = 350_000;
/// Most constants that are tried as content, and decisions that are forced.
const MAX_SEEDS: usize = 64;
const MAX_FORCED: usize = 96;
/// Rounds in which what was found new is tried in turn.
const MAX_ROUNDS: usize = 4;
/// Longest number of turns that is tried because the template names it.
const MAX_TURNS: i64 = 40;
/// Longest content that is tried because the template names its length.
const MAX_CONTENT: i64 = 16_000;

/// Something that a template makes depend on what it should not.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) cause: Cause,
    pub(super) novelty: Novelty,
    /// Whether the trigger is a switch or mark, and not words that people write.
    pub(super) is_switch: bool,
}

/// What a gate opens at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// A constant in a message of a role.
    Content {
        role: &'static str,
        trigger: String,
    },
    /// A property of content that no single constant stands for.
    Property(String),
    Count,
    Clock,
}

/// What exploring a template brought up.
#[derive(Debug, Default)]
pub(super) struct Exploration {
    pub(super) gates: Vec<Gate>,
    /// Triggers at which a message of a role is no longer given word for word.
    pub(super) rewrites: BTreeSet<(&'static str, String)>,
    /// Whether plain words of a user are changed without a trigger.
    pub(super) rewrites_always: bool,
    /// Whether nothing that a user says is given to the model.
    pub(super) ignores_user: bool,
    pub(super) errors: Vec<TemplateError>,
    pub(super) forbidden: BTreeSet<String>,
    pub(super) renders: usize,
    pub(super) refuses: usize,
    pub(super) is_incomplete: bool,
    pub(super) supports_system: bool,
    pub(super) supports_tools: bool,
    pub(super) has_generation_prompt: bool,
    pub(super) speech: Speech,
}

pub(super) struct Explorer<'t> {
    tree: &'t Tree,
    tokens: &'t [(String, String)],
    steps_left: u64,
    observations: Observations,
    known: Speech,
    /// Which messages of a sample stand in its prompt word for word, by the sample's index.
    given: BTreeMap<usize, Vec<bool>>,
    /// Which ways plain conversations took at each decision.
    plain_ways: BTreeMap<SiteId, [bool; 2]>,
    result: Exploration,
}

impl<'t> Explorer<'t> {
    pub(super) fn explore(tree: &'t Tree, tokens: &'t [(String, String)]) -> Exploration {
        let mut explorer = Self {
            tree,
            tokens,
            steps_left: MAX_TOTAL_STEPS,
            observations: Observations::default(),
            known: Speech::default(),
            given: BTreeMap::new(),
            plain_ways: BTreeMap::new(),
            result: Exploration::default(),
        };
        if explorer.try_samples() {
            explorer.plain_ways =
                explorer.observations.decisions.iter().map(|(site, decision)| (*site, decision.ways)).collect();
            explorer.cover();
            explorer.try_seeds();
            explorer.force_decisions();
            explorer.try_lengths();
            explorer.try_days();
        }
        explorer.result.forbidden.append(&mut explorer.observations.forbidden);
        explorer.result.speech = explorer.known;
        explorer.result
    }

    /// Renders, and keeps what was observed on the way.
    fn render(&mut self, conversation: &Conversation, steering: &Steering) -> Result<Rendered, TemplateError> {
        if self.steps_left < MAX_STEPS / 4 {
            self.result.is_incomplete = true;
            return Err(TemplateError::Exhausted(Resource::Steps));
        }
        let mut machine = Machine::new(conversation.variables()?, conversation.now, steering);
        let outcome = machine.render(self.tree);
        // What setting up and comparing costs counts as well.
        self.steps_left = self.steps_left.saturating_sub(machine.steps_used() + 200);
        self.observations.absorb(machine.observations);
        let (text, spans) = outcome?.into_parts();
        Ok(Rendered { text, spans })
    }

    fn render_plainly(&mut self, conversation: &Conversation) -> Result<Rendered, TemplateError> {
        self.render(conversation, &Steering::default())
    }

    /// Renders plain conversations; false where there is no use in going on.
    fn try_samples(&mut self) -> bool {
        let mut outcomes = Vec::new();
        for (index, sample) in SAMPLES.into_iter().enumerate() {
            let conversation = sample.conversation(self.tokens);
            match self.render_plainly(&conversation) {
                Ok(rendered) => {
                    let speech = self.speech(&rendered);
                    self.known.merge(speech);
                    self.given.insert(index, words_given(&conversation, &rendered.text));
                    self.result.renders += 1;
                    outcomes.push((sample, conversation, rendered));
                }
                Err(TemplateError::Refused(_)) => self.result.refuses += 1,
                Err(error) => {
                    let ends = matches!(error, TemplateError::Exhausted(_));
                    self.result.errors.push(error);
                    if ends {
                        return false;
                    }
                }
            }
        }
        self.note_support(&outcomes);
        self.note_rewriting(&outcomes);
        true
    }

    fn note_support(&mut self, outcomes: &[(Sample, Conversation, Rendered)]) {
        self.result.supports_system = outcomes.iter().any(|(sample, conversation, rendered)| {
            sample.roles.first() == Some(&"system") && is_verbatim(conversation, 0, &rendered.text)
        });
        self.result.supports_tools =
            outcomes.iter().any(|(sample, _, rendered)| sample.tools && rendered.text.contains(samples::TOOL_NAME));
        let text_of = |prompt: bool| {
            let wanted = |sample: &Sample| sample.roles == ["user"] && !sample.tools && sample.shape == Shape::Text;
            let found = outcomes.iter().find(|(sample, ..)| wanted(sample) && sample.prompt == prompt);
            found.map(|(_, _, rendered)| &rendered.text)
        };
        self.result.has_generation_prompt = match (text_of(true), text_of(false)) {
            (Some(with), Some(without)) => with != without,
            _ => false,
        };
    }

    /// A user's plain words must be in a prompt as they are, whichever form a template takes them in.
    fn note_rewriting(&mut self, outcomes: &[(Sample, Conversation, Rendered)]) {
        let gives_words = |conversation: &Conversation, rendered: &Rendered| {
            let messages = conversation.messages.iter().enumerate();
            let mut of_user = messages.filter(|(_, message)| message.role == "user");
            of_user.any(|(index, _)| is_verbatim(conversation, index, &rendered.text))
        };
        if outcomes.is_empty() || outcomes.iter().any(|(_, conversation, rendered)| gives_words(conversation, rendered))
        {
            return;
        }
        let shows_content = |spans: &[Span]| spans.iter().any(|span| span.origin == Origin::Content);
        let changed = outcomes.iter().any(|(_, _, rendered)| shows_content(&rendered.spans));
        self.result.rewrites_always = changed;
        self.result.ignores_user = !changed;
    }

    /// Leads one lenient rendering down each way that was not taken, for what it would reach for.
    fn cover(&mut self) {
        let sample = SAMPLES[7].conversation(self.tokens);
        let steering = Steering { lenient: true, ..Steering::default() };
        let _ = self.render(&sample, &steering);
        let least = self.steps_left.saturating_sub(MAX_COVER_STEPS);
        for site in 0..self.tree.sites.len() {
            for way in [true, false] {
                if self.steps_left <= least {
                    return;
                }
                let seen = self.observations.decisions.get(&site).is_some_and(|seen| seen.ways[usize::from(way)]);
                if !seen {
                    let steering = Steering { forced: self.path_to(site, way), lenient: true };
                    let _ = self.render(&sample, &steering);
                }
            }
        }
    }

    /// The decisions that lead to `site`, and the way to take there.
    fn path_to(&self, site: SiteId, way: bool) -> BTreeMap<SiteId, bool> {
        let mut forced = BTreeMap::from([(site, way)]);
        let mut parent = self.tree.sites.get(site).and_then(|site| site.parent);
        while let Some((above, way)) = parent {
            forced.entry(above).or_insert(way);
            parent = self.tree.sites.get(above).and_then(|site| site.parent);
        }
        forced
    }

    /// Tries every constant that content met as content, those that come up on the way included.
    fn try_seeds(&mut self) {
        let mut tried = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let fresh: Vec<String> = self.seeds().filter(|seed| !tried.contains(seed)).collect();
            if fresh.is_empty() {
                return;
            }
            for seed in fresh {
                if tried.len() >= MAX_SEEDS {
                    self.result.is_incomplete = true;
                    return;
                }
                self.try_seed(&seed);
                tried.insert(seed);
            }
        }
    }

    /// The constants met so far, also turned around for templates that turn content around.
    fn seeds(&self) -> impl Iterator<Item = String> + use<> {
        let constants: Vec<String> = self.observations.constants.iter().cloned().collect();
        constants.into_iter().flat_map(|constant| {
            let turned: String = constant.chars().rev().collect();
            if turned == constant { vec![constant] } else { vec![constant, turned] }
        })
    }

    /// Tries a constant in all messages at once, and role by role only where that shows.
    fn try_seed(&mut self, seed: &str) {
        let inside = |words: &str| {
            let (head, tail) = words.split_at(words.find(' ').unwrap_or(0));
            format!("{head} {seed}{tail}")
        };
        let exactly = |_: &str| seed.to_owned();
        for index in [3, 7, 11] {
            if self.shows(index, &|_, words| inside(words), true)
                || self.shows(index, &|_, words| exactly(words), false)
            {
                for role in ["user", "system", "assistant", "tool"] {
                    if SAMPLES[index].roles.contains(&role) {
                        self.try_content(index, role, seed, &inside, true);
                        self.try_content(index, role, seed, &exactly, false);
                    }
                }
            }
        }
    }

    /// Whether changed words make a difference, or make the template fail.
    fn shows(&mut self, index: usize, fill: &dyn Fn(&str, &str) -> String, keeps_words: bool) -> bool {
        let conversation = SAMPLES[index].filled(self.tokens, fill);
        let Ok(rendered) = self.render_plainly(&conversation) else { return true };
        let novelty = self.novelty(&rendered);
        let given = words_given(&conversation, &rendered.text);
        is_loud(&novelty) || (keeps_words && self.given.get(&index) != Some(&given))
    }

    /// Renders with changed words of one role, and compares.
    fn try_content(
        &mut self,
        index: usize,
        role: &'static str,
        seed: &str,
        change: &dyn Fn(&str) -> String,
        is_inside: bool,
    ) {
        let fill = |at: &str, words: &str| if at == role { change(words) } else { words.to_owned() };
        let conversation = SAMPLES[index].filled(self.tokens, &fill);
        let Ok(rendered) = self.render_plainly(&conversation) else { return };
        let novelty = self.novelty(&rendered);
        let cause = Cause::Content { role, trigger: seed.to_owned() };
        self.note_gate(cause, novelty, is_switch(seed));
        if is_inside && !is_switch(seed) {
            let now = words_given(&conversation, &rendered.text);
            let before = self.given.get(&index).into_iter().flatten();
            let roles = conversation.messages.iter().map(|message| message.role.as_str());
            let loses = before.zip(now).zip(roles).any(|((before, now), at)| *before && !now && at == role);
            if loses {
                self.result.rewrites.insert((role, seed.to_owned()));
            }
        }
    }

    /// What a rendering says beyond plain conversations.
    fn novelty(&mut self, rendered: &Rendered) -> Novelty {
        let speech = self.speech(rendered);
        speech.beyond(&[&self.known])
    }

    /// What a rendering says, apart from passages that plain conversations hold as they are.
    fn speech(&mut self, rendered: &Rendered) -> Speech {
        let speech = Speech::of(rendered, &self.known);
        self.steps_left = self.steps_left.saturating_sub(speech.length() / 4 + rendered.text.len() as u64 / 64);
        speech
    }

    fn note_gate(&mut self, cause: Cause, novelty: Novelty, is_switch: bool) {
        let is_known = self.result.gates.iter().any(|gate| gate.cause == cause && gate.is_switch == is_switch);
        if is_loud(&novelty) && !is_known && self.result.gates.len() < MAX_FORCED {
            self.result.gates.push(Gate { cause, novelty, is_switch });
        }
    }

    /// Forces decisions that depend on content, number or day, and compares both ways.
    fn force_decisions(&mut self) {
        let mut tried = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let decisions = self.observations.decisions.iter();
            let fresh: Vec<(SiteId, Decision)> = decisions
                .filter(|(site, decision)| !decision.taint.is_none() && !tried.contains(*site))
                .map(|(site, decision)| (*site, decision.clone()))
                .collect();
            if fresh.is_empty() {
                return;
            }
            for (site, decision) in fresh {
                if tried.len() >= MAX_FORCED {
                    self.result.is_incomplete = true;
                    return;
                }
                tried.insert(site);
                self.force(site, &decision);
            }
        }
    }

    fn force(&mut self, site: SiteId, decision: &Decision) {
        for way in [false, true] {
            // What plain conversations say is known.
            if self.took(site, way) {
                continue;
            }
            for index in [0, 3, 7] {
                if let Some(novelty) = self.force_way(site, way, index) {
                    self.note_forced(decision, novelty);
                }
            }
        }
    }

    fn took(&self, site: SiteId, way: bool) -> bool {
        self.plain_ways.get(&site).is_some_and(|ways| ways[usize::from(way)])
    }

    /// What is said on one way and on no other; where only force leads to the decision at all,
    /// what is said on its other way is no novelty either.
    fn force_way(&mut self, site: SiteId, way: bool, index: usize) -> Option<Novelty> {
        let conversation = SAMPLES[index].conversation(self.tokens);
        let steering = Steering { forced: self.path_to(site, way), lenient: false };
        let this = self.render(&conversation, &steering).ok()?;
        let this = self.speech(&this);
        let mut above = self.path_to(site, way);
        above.remove(&site);
        let is_reached = above.into_iter().all(|(site, way)| self.took(site, way));
        if is_reached {
            return Some(this.beyond(&[&self.known]));
        }
        let steering = Steering { forced: self.path_to(site, !way), lenient: false };
        let other = self.render(&conversation, &steering).ok()?;
        let other = self.speech(&other);
        Some(this.beyond(&[&self.known, &other]))
    }

    fn note_forced(&mut self, decision: &Decision, novelty: Novelty) {
        if decision.taint.has(Taint::CLOCK) {
            self.note_gate(Cause::Clock, novelty, false);
        } else if decision.taint.has(Taint::CONTENT) {
            let is_switch = !decision.constants.is_empty() && decision.constants.iter().all(|text| is_switch(text));
            let constants: Vec<&str> = decision.constants.iter().take(4).map(String::as_str).collect();
            self.note_gate(Cause::Property(constants.join(" ")), novelty, is_switch);
        } else {
            self.note_gate(Cause::Count, novelty, false);
        }
    }

    /// Long content and long conversations, also of the lengths that the template asks for.
    fn try_lengths(&mut self) {
        let numbers: Vec<i64> =
            self.observations.numbers.iter().copied().filter(|number| *number > 1).take(12).collect();
        let mut counts = vec![5, 8, 13, 20];
        let mut lengths = vec![240, 1500, 6000];
        for number in numbers {
            counts.extend([number, number + 1].into_iter().filter(|count| *count <= MAX_TURNS));
            lengths.extend([number, number + 1].into_iter().filter(|length| *length <= MAX_CONTENT));
        }
        for count in counts {
            let conversation = samples::turns(usize::try_from(count).unwrap_or(1), self.tokens);
            if let Ok(rendered) = self.render_plainly(&conversation) {
                let novelty = self.novelty(&rendered);
                self.note_gate(Cause::Count, novelty, false);
            }
        }
        for length in lengths {
            let length = usize::try_from(length).unwrap_or(0);
            let fill = |_: &str, words: &str| words.chars().cycle().take(length).collect();
            let conversation = SAMPLES[3].filled(self.tokens, &fill);
            if let Ok(rendered) = self.render_plainly(&conversation) {
                let novelty = self.novelty(&rendered);
                let cause = format!("a length of {length} characters");
                let was_given = self.given.get(&3).is_some_and(|given| given.get(1) == Some(&true));
                if was_given && !is_verbatim(&conversation, 1, &rendered.text) {
                    self.result.rewrites.insert(("user", cause.clone()));
                }
                self.note_gate(Cause::Property(cause), novelty, false);
            }
        }
    }

    fn try_days(&mut self) {
        if !self.observations.asks_time {
            return;
        }
        for day in samples::other_days() {
            for index in [0, 1, 7] {
                let mut conversation = SAMPLES[index].conversation(self.tokens);
                conversation.now = day;
                if let Ok(rendered) = self.render_plainly(&conversation) {
                    let novelty = self.novelty(&rendered);
                    self.note_gate(Cause::Clock, novelty, false);
                }
            }
        }
    }
}

impl Observations {
    fn absorb(&mut self, other: Self) {
        self.constants.extend(other.constants);
        self.numbers.extend(other.numbers);
        self.forbidden.extend(other.forbidden);
        self.asks_time |= other.asks_time;
        for (site, decision) in other.decisions {
            let known = self.decisions.entry(site).or_default();
            known.taint = known.taint.union(decision.taint);
            known.ways = [known.ways[0] || decision.ways[0], known.ways[1] || decision.ways[1]];
            known.constants.extend(decision.constants);
        }
    }
}

/// Whether what is new is more than a mark.
fn is_loud(novelty: &Novelty) -> bool {
    !novelty.words.is_empty() || !novelty.lures.is_empty() || novelty.triples >= 6
}

/// Which messages stand in the prompt word for word.
fn words_given(conversation: &Conversation, prompt: &str) -> Vec<bool> {
    (0..conversation.messages.len()).map(|index| is_verbatim(conversation, index, prompt)).collect()
}

/// Whether the words of a message stand in the prompt as they are, or as JSON has them.
fn is_verbatim(conversation: &Conversation, index: usize, prompt: &str) -> bool {
    let text = match conversation.messages.get(index).map(|message| &message.body) {
        Some(Body::Text(text)) => text.trim(),
        Some(Body::Parts(parts)) => parts.first().map_or("", |part| part.trim()),
        _ => "",
    };
    prompt.contains(text) || prompt.contains(&escape(text, false)) || prompt.contains(&escape(text, true))
}

/// Whether a trigger is a switch (`/no_think`) or a mark of structure, which people do not write by accident.
fn is_switch(trigger: &str) -> bool {
    let trigger = trigger.trim();
    let is_command = trigger.strip_prefix('/').is_some_and(|name| {
        !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
    });
    let is_mark = trigger.contains(['<', '>', '[', ']', '{', '}', '|', '｜', '▁', '#', '`', '\n']);
    is_command || is_mark || !trigger.chars().any(char::is_alphabetic)
}
