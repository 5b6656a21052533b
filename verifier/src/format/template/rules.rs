//! What can be told from a template without running it.
//!
//! Running shows only the ways that are taken, so names by which templates reach Python's
//! internals are looked for in the whole tree, computed ones included: an expression made of
//! constants alone is evaluated here, however it is put together.

use std::collections::BTreeSet;

use super::machine::{Machine, Steering};
use super::names;
use super::tree::{Argument, Constant, Expression, Macro, Statement, Tree};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Filters that take the name of an attribute, apart from `attr` itself.
const BY_ATTRIBUTE: [&str; 9] = ["map", "selectattr", "rejectattr", "groupby", "sort", "unique", "sum", "min", "max"];
/// Most expressions that are evaluated for their names.
const MAX_FOLDS: u32 = 4000;
/// Names kept for a finding.
const MAX_NAMES: usize = 8;

/// What the tree was seen to hold.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Ways to code, each as it is to be shown.
    pub(super) dangers: BTreeSet<String>,
    /// Attributes reached in ways that no template needs.
    pub(super) oddities: BTreeSet<String>,
    /// Every constant text, and every text outside of tags.
    pub(super) texts: Vec<String>,
}

impl Survey {
    pub(super) fn of(tree: &Tree, source: &str) -> Self {
        let mut walker = Walker { survey: Self::default(), folds_left: MAX_FOLDS, declared: BTreeSet::new() };
        walker.declare(&tree.body);
        walker.statements(&tree.body);
        let mut survey = walker.survey;
        if has_hidden_underscore(source) {
            survey.danger("an escaped underscore");
        }
        survey
    }

    fn danger(&mut self, what: &str) {
        if self.dangers.len() < MAX_NAMES {
            self.dangers.insert(what.chars().take(64).collect());
        }
    }

    fn oddity(&mut self, what: &str) {
        if self.oddities.len() < MAX_NAMES {
            self.oddities.insert(what.chars().take(64).collect());
        }
    }
}

/// What reaches for internals in text that cannot be parsed: names in tags, as they stand.
pub(super) fn dangers_of_text(source: &str) -> BTreeSet<String> {
    let mut dangers = BTreeSet::new();
    for tag in tags(source) {
        let words = tag.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        dangers.extend(words.filter(|word| names::is_internal(word)).take(MAX_NAMES).map(str::to_owned));
        let keyword = tag.trim_start_matches(['%', '-', '+', ' ', '\n', '\t']).split_whitespace().next();
        if tag.starts_with('%')
            && keyword.is_some_and(|keyword| ["include", "import", "extends", "from"].contains(&keyword))
        {
            dangers.extend(keyword.map(str::to_owned));
        }
    }
    if has_hidden_underscore(source) {
        dangers.insert("an escaped underscore".to_owned());
    }
    dangers
}

/// The insides of `{{ … }}` and `{% … %}`, roughly: the first character tells which.
fn tags(source: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        let inner = &rest[start + 1..];
        let close = match inner.chars().next() {
            Some('%') => "%}",
            Some('{') => "}}",
            _ => {
                rest = inner;
                continue;
            }
        };
        // Without an end, everything that follows is inside.
        let end = inner.find(close).unwrap_or(inner.len());
        tags.push(&inner[..end]);
        rest = &inner[end..];
    }
    tags
}

/// Nobody needs to write an underscore as an escape, but for hiding a name.
fn has_hidden_underscore(source: &str) -> bool {
    const ESCAPES: [&str; 5] = ["\\x5f", "\\x5F", "\\u005f", "\\u005F", "\\137"];
    ESCAPES.iter().any(|escape| source.contains(escape))
        && tags(source).iter().any(|tag| ESCAPES.iter().any(|escape| tag.contains(escape)))
}

struct Walker {
    survey: Survey,
    folds_left: u32,
    /// Names that the template itself declares, which are then not Python's.
    declared: BTreeSet<String>,
}

impl Walker {
    fn declare(&mut self, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Macro(node) => {
                    self.declared.insert(node.name.to_string());
                    self.declare(&node.body);
                }
                Statement::Set { target: Expression::Variable(name), .. }
                | Statement::SetBlock { target: Expression::Variable(name), .. } => {
                    self.declared.insert(name.to_string());
                }
                _ => {}
            }
        }
    }

    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Raw(text) => self.survey.texts.push(text.to_string()),
            Statement::Emit(expression) | Statement::Do(expression) => self.expression(expression),
            Statement::If { test, then, otherwise, .. } => {
                self.expression(test);
                self.statements(then);
                self.statements(otherwise);
            }
            Statement::For(node) => {
                self.expression(&node.sequence);
                if let Some((_, filter)) = &node.filter {
                    self.expression(filter);
                }
                self.statements(&node.body);
                self.statements(&node.otherwise);
            }
            Statement::With { assignments, body } => {
                for (_, value) in assignments {
                    self.expression(value);
                }
                self.statements(body);
            }
            Statement::Set { target, value } => {
                self.expression(target);
                self.expression(value);
            }
            Statement::SetBlock { filter, body, .. } => {
                if let Some(filter) = filter {
                    self.expression(filter);
                }
                self.statements(body);
            }
            Statement::FilterBlock { filter, body } => {
                self.expression(filter);
                self.statements(body);
            }
            Statement::Plain(body) => self.statements(body),
            Statement::Macro(node) => self.macro_body(node),
            Statement::CallBlock { call, body } => {
                self.expression(call);
                self.macro_body(body);
            }
            Statement::Reference(keyword) => self.survey.danger(keyword),
            Statement::Break | Statement::Continue => {}
        }
    }

    fn macro_body(&mut self, node: &Macro) {
        node.defaults.iter().for_each(|default| self.expression(default));
        self.statements(&node.body);
    }

    fn expression(&mut self, expression: &Expression) {
        self.check(expression);
        for_each_part(expression, &mut |part| self.expression(part));
    }

    fn check(&mut self, expression: &Expression) {
        match expression {
            Expression::Constant(Constant::Text(text)) => self.constant(text),
            Expression::Variable(name) if names::is_internal(name) => self.survey.danger(name),
            Expression::Variable(name) if &**name == "lipsum" && !self.declared.contains("lipsum") => {
                self.survey.oddity(name);
            }
            Expression::Attribute { object, name } => {
                self.attribute_name(name);
                if let Expression::Variable(module) = &**object
                    && names::is_module(module)
                    && !self.declared.contains(&**module)
                {
                    self.survey.danger(module);
                }
            }
            Expression::Item(parts) => {
                if let Some(name) = self.fold(&parts.1) {
                    self.attribute_name(&name);
                }
            }
            Expression::Filter { name, arguments, .. } => self.filter(name, arguments),
            Expression::Call { callee, .. } => self.call(callee),
            Expression::Binary(..) | Expression::Slice(_) => self.computed(expression),
            _ => {}
        }
    }

    /// The text of an expression made of constants, as long as there were not too many of them.
    fn fold(&mut self, expression: &Expression) -> Option<String> {
        if self.folds_left == 0 {
            self.survey.oddity("more computed names than were followed");
            return None;
        }
        if !matches!(expression, Expression::Constant(_)) {
            self.folds_left -= 1;
        }
        fold(expression)
    }

    fn attribute_name(&mut self, name: &str) {
        if names::is_internal(name) {
            self.survey.danger(name);
        } else if name.starts_with('_') && name.len() > 1 {
            self.survey.oddity(name);
        }
    }

    /// A name of Python's internals that is put together from parts is meant not to be seen.
    fn computed(&mut self, expression: &Expression) {
        match self.fold(expression) {
            Some(text) if names::is_internal(&text) => self.survey.danger(&text),
            Some(_) => {}
            None => {
                for_each_part(expression, &mut |part| {
                    if let Expression::Constant(Constant::Text(text)) = part
                        && names::is_stem(text)
                    {
                        self.survey.danger(text);
                    }
                });
            }
        }
    }

    fn constant(&mut self, text: &str) {
        self.survey.texts.push(text.to_owned());
        let is_encoded = (8..=4096).contains(&text.len()) && text.len().is_multiple_of(4);
        if is_encoded
            && let Ok(bytes) = STANDARD.decode(text)
            && let Ok(decoded) = String::from_utf8(bytes)
            && (names::is_internal(&decoded) || names::mentions_internal(&decoded))
        {
            self.survey.danger(&decoded);
        }
    }

    fn filter(&mut self, name: &str, arguments: &[Argument]) {
        if name == "attr" {
            match arguments.first().map(|argument| self.fold(argument.expression())) {
                Some(Some(attribute)) if names::is_internal(&attribute) => self.survey.danger(&attribute),
                Some(Some(attribute)) => self.survey.oddity(&format!("attr({attribute})")),
                Some(None) => self.survey.danger("attr of a computed name"),
                None => {}
            }
        }
        if BY_ATTRIBUTE.contains(&name) {
            let paths: Vec<String> = arguments.iter().filter_map(|argument| self.fold(argument.expression())).collect();
            paths.iter().flat_map(|path| path.split('.')).for_each(|part| self.attribute_name(part));
            if name == "map" && paths.first().is_some_and(|filter| filter == "attr") {
                self.survey.oddity("map(attr)");
            }
        }
    }

    fn call(&mut self, callee: &Expression) {
        match callee {
            Expression::Variable(name) if names::runs_code(name) && !self.declared.contains(&**name) => {
                self.survey.danger(&format!("{name}()"));
            }
            Expression::Attribute { object, name } if names::runs_code(name) => {
                let is_own = matches!(&**object, Expression::Variable(base) if self.declared.contains(&**base));
                if !is_own {
                    self.survey.danger(&format!("{name}()"));
                }
            }
            Expression::Attribute { object, name } if &**name == "format" => {
                if let Some(format) = self.fold(object)
                    && format.contains('{')
                    && names::mentions_internal(&format)
                {
                    self.survey.danger(&format);
                }
            }
            Expression::Item(parts) => {
                if let Some(name) = self.fold(&parts.1)
                    && names::runs_code(&name)
                {
                    self.survey.danger(&format!("{name}()"));
                }
            }
            _ => {}
        }
    }
}

/// Calls `visit` for the expressions directly inside `expression`.
fn for_each_part(expression: &Expression, visit: &mut dyn FnMut(&Expression)) {
    let mut both = |parts: &(Expression, Expression)| {
        visit(&parts.0);
        visit(&parts.1);
    };
    match expression {
        Expression::Variable(_) | Expression::Constant(_) => {}
        Expression::And(parts) | Expression::Or(parts) | Expression::Binary(_, parts) | Expression::Item(parts) => {
            both(parts);
        }
        Expression::Dict(entries) => entries.iter().for_each(both),
        Expression::List(items) => items.iter().for_each(visit),
        Expression::Slice(slice) => {
            visit(&slice.object);
            [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(visit);
        }
        Expression::Not(inner) | Expression::Negate(inner) | Expression::Attribute { object: inner, .. } => {
            visit(inner);
        }
        Expression::Compare(first, rest) => {
            visit(first);
            for (_, operand) in rest {
                visit(operand);
            }
        }
        Expression::Conditional { parts, .. } => {
            visit(&parts.0);
            visit(&parts.1);
            parts.2.iter().for_each(visit);
        }
        Expression::Filter { subject, arguments, .. } => {
            if let Some(subject) = subject {
                visit(subject);
            }
            for_each_argument(arguments, visit);
        }
        Expression::Test { subject, arguments, .. } => {
            visit(subject);
            for_each_argument(arguments, visit);
        }
        Expression::Call { callee, arguments } => {
            visit(callee);
            for_each_argument(arguments, visit);
        }
    }
}

fn for_each_argument(arguments: &[Argument], visit: &mut dyn FnMut(&Expression)) {
    for argument in arguments {
        visit(argument.expression());
    }
}

/// The text that an expression made of constants alone evaluates to.
fn fold(expression: &Expression) -> Option<String> {
    if let Expression::Constant(constant) = expression {
        return if let Constant::Text(text) = constant { Some(text.to_string()) } else { None };
    }
    if !is_constant(expression) {
        return None;
    }
    let steering = Steering::default();
    let mut machine = Machine::small(&steering);
    machine.evaluate(expression).ok()?.as_str().map(str::to_owned)
}

fn is_constant(expression: &Expression) -> bool {
    let mut holds = !matches!(expression, Expression::Variable(_));
    for_each_part(expression, &mut |part| holds = holds && is_constant(part));
    holds
}
