//! The syntax tree that the interpreter walks, made from the parser's.
//!
//! It owns its text, so a compiled template can be kept, and numbers every place where a
//! template decides between two ways, so that a rendering can be steered down each of them.

use std::sync::Arc;

use minijinja::machinery::{ast, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};

use super::error::{Result, TemplateError};
use super::source;

/// Index of a decision in [`Tree::sites`].
pub(super) type SiteId = usize;

/// A place where a template decides between two ways.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// The decision that this one stands under, and the way that leads here.
    pub(super) parent: Option<(SiteId, bool)>,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) body: Vec<Statement>,
    pub(super) sites: Vec<Site>,
}

#[derive(Debug)]
pub(super) enum Statement {
    Raw(Arc<str>),
    Emit(Expression),
    If {
        site: SiteId,
        test: Expression,
        then: Vec<Self>,
        otherwise: Vec<Self>,
    },
    For(Box<For>),
    With {
        assignments: Vec<(Expression, Expression)>,
        body: Vec<Self>,
    },
    Set {
        target: Expression,
        value: Expression,
    },
    SetBlock {
        target: Expression,
        filter: Option<Expression>,
        body: Vec<Self>,
    },
    FilterBlock {
        filter: Expression,
        body: Vec<Self>,
    },
    /// `block` and `autoescape`, whose body is rendered where it stands.
    Plain(Vec<Self>),
    Macro(Arc<Macro>),
    CallBlock {
        call: Expression,
        body: Arc<Macro>,
    },
    Do(Expression),
    Break,
    Continue,
    /// `include`, `import` or `extends`: reads other files.
    Reference(&'static str),
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Expression,
    pub(super) sequence: Expression,
    pub(super) filter: Option<(SiteId, Expression)>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Arc<str>,
    pub(super) parameters: Vec<Arc<str>>,
    /// Of the last parameters.
    pub(super) defaults: Vec<Expression>,
    pub(super) body: Vec<Statement>,
}

#[derive(Debug)]
pub(super) enum Constant {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
}

#[derive(Debug)]
pub(super) enum Expression {
    Variable(Arc<str>),
    Constant(Constant),
    List(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    Slice(Box<Slice>),
    Not(Box<Self>),
    Negate(Box<Self>),
    And(Box<(Self, Self)>),
    Or(Box<(Self, Self)>),
    Binary(Operator, Box<(Self, Self)>),
    Compare(Box<Self>, Vec<(Comparison, Self)>),
    Conditional {
        site: SiteId,
        parts: Box<(Self, Self, Option<Self>)>,
    },
    /// Without a subject inside `filter` blocks, where it is the block's text.
    Filter {
        name: Arc<str>,
        subject: Option<Box<Self>>,
        arguments: Vec<Argument>,
    },
    Test {
        name: Arc<str>,
        subject: Box<Self>,
        arguments: Vec<Argument>,
    },
    Attribute {
        object: Box<Self>,
        name: Arc<str>,
    },
    Item(Box<(Self, Self)>),
    Call {
        callee: Box<Self>,
        arguments: Vec<Argument>,
    },
}

#[derive(Debug)]
pub(super) struct Slice {
    pub(super) object: Expression,
    pub(super) start: Option<Expression>,
    pub(super) stop: Option<Expression>,
    pub(super) step: Option<Expression>,
}

#[derive(Debug)]
pub(super) enum Argument {
    Positional(Expression),
    Named(Arc<str>, Expression),
    Spread(Expression),
    SpreadNamed(Expression),
}

impl Argument {
    pub(super) const fn expression(&self) -> &Expression {
        match self {
            Self::Positional(value) | Self::Named(_, value) | Self::Spread(value) | Self::SpreadNamed(value) => value,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
    Concatenate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// Parses a template within bounds on its size and depth.
pub(super) fn parse_template(text: &str) -> Result<Tree> {
    let text = source::prepare(text)?;
    source::check_depth(&text)?;
    let parsed = parse(&text, "chat_template", SyntaxConfig, source::WHITESPACE)
        .map_err(|error| TemplateError::Syntax(error.to_string()))?;
    let mut builder = Builder { sites: Vec::new(), parent: None };
    let body = match &parsed {
        ast::Stmt::Template(template) => builder.statements(&template.children)?,
        other => vec![builder.statement(other)?],
    };
    Ok(Tree { body, sites: builder.sites })
}

struct Builder {
    sites: Vec<Site>,
    /// The decision that what is being converted stands under.
    parent: Option<(SiteId, bool)>,
}

impl Builder {
    fn site(&mut self) -> SiteId {
        self.sites.push(Site { parent: self.parent });
        self.sites.len() - 1
    }

    fn under<T>(&mut self, site: SiteId, way: bool, convert: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.parent.replace((site, way));
        let result = convert(self);
        self.parent = outer;
        result
    }

    fn statements(&mut self, statements: &[ast::Stmt<'_>]) -> Result<Vec<Statement>> {
        statements.iter().map(|statement| self.statement(statement)).collect()
    }

    fn statement(&mut self, statement: &ast::Stmt<'_>) -> Result<Statement> {
        Ok(match statement {
            ast::Stmt::Template(template) => Statement::Plain(self.statements(&template.children)?),
            ast::Stmt::EmitRaw(raw) => Statement::Raw(raw.raw.into()),
            ast::Stmt::EmitExpr(emit) => Statement::Emit(self.expression(&emit.expr)?),
            ast::Stmt::IfCond(condition) => self.condition(condition)?,
            ast::Stmt::ForLoop(for_loop) => self.for_loop(for_loop)?,
            ast::Stmt::WithBlock(with) => Statement::With {
                assignments: self.pairs(with.assignments.iter().map(|(target, value)| (target, value)))?,
                body: self.statements(&with.body)?,
            },
            ast::Stmt::Set(set) => {
                Statement::Set { target: self.expression(&set.target)?, value: self.expression(&set.expr)? }
            }
            ast::Stmt::SetBlock(set) => Statement::SetBlock {
                target: self.expression(&set.target)?,
                filter: set.filter.as_ref().map(|filter| self.expression(filter)).transpose()?,
                body: self.statements(&set.body)?,
            },
            ast::Stmt::FilterBlock(block) => {
                Statement::FilterBlock { filter: self.expression(&block.filter)?, body: self.statements(&block.body)? }
            }
            ast::Stmt::AutoEscape(block) => {
                if block.enabled.as_const().is_none_or(|enabled| enabled.is_true()) {
                    return Err(TemplateError::Unsupported("`autoescape`".to_owned()));
                }
                Statement::Plain(self.statements(&block.body)?)
            }
            ast::Stmt::Block(block) => Statement::Plain(self.statements(&block.body)?),
            ast::Stmt::Import(_) | ast::Stmt::FromImport(_) => Statement::Reference("import"),
            ast::Stmt::Extends(_) => Statement::Reference("extends"),
            ast::Stmt::Include(_) => Statement::Reference("include"),
            ast::Stmt::Macro(declared) => Statement::Macro(Arc::new(self.macro_declaration(declared)?)),
            ast::Stmt::CallBlock(block) => Statement::CallBlock {
                call: self.call(&block.call)?,
                body: Arc::new(self.macro_declaration(&block.macro_decl)?),
            },
            ast::Stmt::Do(statement) => Statement::Do(self.call(&statement.call)?),
            ast::Stmt::Break(_) => Statement::Break,
            ast::Stmt::Continue(_) => Statement::Continue,
        })
    }

    fn condition(&mut self, condition: &ast::IfCond<'_>) -> Result<Statement> {
        let test = self.expression(&condition.expr)?;
        let site = self.site();
        let then = self.under(site, true, |builder| builder.statements(&condition.true_body))?;
        let otherwise = self.under(site, false, |builder| builder.statements(&condition.false_body))?;
        Ok(Statement::If { site, test, then, otherwise })
    }

    fn for_loop(&mut self, node: &ast::ForLoop<'_>) -> Result<Statement> {
        let filter = match &node.filter_expr {
            Some(filter) => Some((self.site(), self.expression(filter)?)),
            None => None,
        };
        Ok(Statement::For(Box::new(For {
            target: self.expression(&node.target)?,
            sequence: self.expression(&node.iter)?,
            filter,
            recursive: node.recursive,
            body: self.statements(&node.body)?,
            otherwise: self.statements(&node.else_body)?,
        })))
    }

    fn macro_declaration(&mut self, node: &ast::Macro<'_>) -> Result<Macro> {
        let parameters = node.args.iter().map(|parameter| match parameter {
            ast::Expr::Var(name) => Ok(name.id.into()),
            _ => Err(TemplateError::Syntax("a parameter that is no name".to_owned())),
        });
        Ok(Macro {
            name: node.name.into(),
            parameters: parameters.collect::<Result<_>>()?,
            defaults: self.expressions(&node.defaults)?,
            body: self.statements(&node.body)?,
        })
    }

    fn pairs<'n>(
        &mut self,
        pairs: impl Iterator<Item = (&'n ast::Expr<'n>, &'n ast::Expr<'n>)>,
    ) -> Result<Vec<(Expression, Expression)>> {
        pairs.map(|(first, second)| Ok((self.expression(first)?, self.expression(second)?))).collect()
    }

    fn expressions(&mut self, expressions: &[ast::Expr<'_>]) -> Result<Vec<Expression>> {
        expressions.iter().map(|expression| self.expression(expression)).collect()
    }

    fn boxed(&mut self, expression: &ast::Expr<'_>) -> Result<Box<Expression>> {
        Ok(Box::new(self.expression(expression)?))
    }

    fn both(&mut self, first: &ast::Expr<'_>, second: &ast::Expr<'_>) -> Result<Box<(Expression, Expression)>> {
        Ok(Box::new((self.expression(first)?, self.expression(second)?)))
    }

    fn optional(&mut self, expression: Option<&ast::Expr<'_>>) -> Result<Option<Expression>> {
        expression.map(|expression| self.expression(expression)).transpose()
    }

    fn expression(&mut self, expression: &ast::Expr<'_>) -> Result<Expression> {
        Ok(match expression {
            ast::Expr::Var(variable) => Expression::Variable(variable.id.into()),
            ast::Expr::Const(constant) => Expression::Constant(constant_of(&constant.value)?),
            ast::Expr::List(list) => Expression::List(self.expressions(&list.items)?),
            ast::Expr::Map(map) => Expression::Dict(self.pairs(map.keys.iter().zip(&map.values))?),
            ast::Expr::Slice(slice) => Expression::Slice(Box::new(Slice {
                object: self.expression(&slice.expr)?,
                start: self.optional(slice.start.as_ref())?,
                stop: self.optional(slice.stop.as_ref())?,
                step: self.optional(slice.step.as_ref())?,
            })),
            ast::Expr::UnaryOp(unary) => match unary.op {
                ast::UnaryOpKind::Not => Expression::Not(self.boxed(&unary.expr)?),
                ast::UnaryOpKind::Neg => Expression::Negate(self.boxed(&unary.expr)?),
            },
            ast::Expr::BinOp(binary) => self.binary(binary)?,
            ast::Expr::Compare(compare) => {
                let first = self.boxed(&compare.expr)?;
                let rest = compare.ops.iter().map(|part| Ok((comparison(part.op), self.expression(&part.expr)?)));
                Expression::Compare(first, rest.collect::<Result<_>>()?)
            }
            ast::Expr::IfExpr(condition) => self.conditional(condition)?,
            ast::Expr::Filter(filter) => Expression::Filter {
                name: filter.name.into(),
                subject: self.optional(filter.expr.as_ref())?.map(Box::new),
                arguments: self.arguments(&filter.args)?,
            },
            ast::Expr::Test(test) => Expression::Test {
                name: test.name.into(),
                subject: self.boxed(&test.expr)?,
                arguments: self.arguments(&test.args)?,
            },
            ast::Expr::GetAttr(attribute) => {
                Expression::Attribute { object: self.boxed(&attribute.expr)?, name: attribute.name.into() }
            }
            ast::Expr::GetItem(item) => Expression::Item(self.both(&item.expr, &item.subscript_expr)?),
            ast::Expr::Call(call) => self.call(call)?,
        })
    }

    fn conditional(&mut self, node: &ast::IfExpr<'_>) -> Result<Expression> {
        let test = self.expression(&node.test_expr)?;
        let site = self.site();
        let then = self.under(site, true, |builder| builder.expression(&node.true_expr))?;
        let otherwise = self.under(site, false, |builder| builder.optional(node.false_expr.as_ref()))?;
        Ok(Expression::Conditional { site, parts: Box::new((test, then, otherwise)) })
    }

    fn call(&mut self, call: &ast::Call<'_>) -> Result<Expression> {
        Ok(Expression::Call { callee: self.boxed(&call.expr)?, arguments: self.arguments(&call.args)? })
    }

    fn arguments(&mut self, arguments: &[ast::CallArg<'_>]) -> Result<Vec<Argument>> {
        let convert = |argument: &ast::CallArg<'_>| {
            Ok(match argument {
                ast::CallArg::Pos(value) => Argument::Positional(self.expression(value)?),
                ast::CallArg::Kwarg(name, value) => Argument::Named((*name).into(), self.expression(value)?),
                ast::CallArg::PosSplat(value) => Argument::Spread(self.expression(value)?),
                ast::CallArg::KwargSplat(value) => Argument::SpreadNamed(self.expression(value)?),
            })
        };
        arguments.iter().map(convert).collect()
    }

    fn binary(&mut self, node: &ast::BinOp<'_>) -> Result<Expression> {
        let operator = match node.op {
            ast::BinOpKind::ScAnd => return Ok(Expression::And(self.both(&node.left, &node.right)?)),
            ast::BinOpKind::ScOr => return Ok(Expression::Or(self.both(&node.left, &node.right)?)),
            ast::BinOpKind::Add => Operator::Add,
            ast::BinOpKind::Sub => Operator::Subtract,
            ast::BinOpKind::Mul => Operator::Multiply,
            ast::BinOpKind::Div => Operator::Divide,
            ast::BinOpKind::FloorDiv => Operator::FloorDivide,
            ast::BinOpKind::Rem => Operator::Remainder,
            ast::BinOpKind::Pow => Operator::Power,
            ast::BinOpKind::Concat => Operator::Concatenate,
            ast::BinOpKind::Eq => return self.comparison(node, Comparison::Equal),
            ast::BinOpKind::Ne => return self.comparison(node, Comparison::NotEqual),
            ast::BinOpKind::Lt => return self.comparison(node, Comparison::Less),
            ast::BinOpKind::Lte => return self.comparison(node, Comparison::LessOrEqual),
            ast::BinOpKind::Gt => return self.comparison(node, Comparison::Greater),
            ast::BinOpKind::Gte => return self.comparison(node, Comparison::GreaterOrEqual),
            ast::BinOpKind::In => return self.comparison(node, Comparison::In),
        };
        Ok(Expression::Binary(operator, self.both(&node.left, &node.right)?))
    }

    fn comparison(&mut self, node: &ast::BinOp<'_>, comparison: Comparison) -> Result<Expression> {
        Ok(Expression::Compare(self.boxed(&node.left)?, vec![(comparison, self.expression(&node.right)?)]))
    }
}

const fn comparison(operator: ast::CompareOpKind) -> Comparison {
    match operator {
        ast::CompareOpKind::Eq => Comparison::Equal,
        ast::CompareOpKind::Ne => Comparison::NotEqual,
        ast::CompareOpKind::Lt => Comparison::Less,
        ast::CompareOpKind::Lte => Comparison::LessOrEqual,
        ast::CompareOpKind::Gt => Comparison::Greater,
        ast::CompareOpKind::Gte => Comparison::GreaterOrEqual,
        ast::CompareOpKind::In => Comparison::In,
        ast::CompareOpKind::NotIn => Comparison::NotIn,
    }
}

fn constant_of(value: &Value) -> Result<Constant> {
    let foreign = || TemplateError::Unsupported("a number beyond 64 bits".to_owned());
    Ok(match value.kind() {
        ValueKind::Bool => Constant::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => Constant::Int(i64::try_from(value.clone()).map_err(|_| foreign())?),
        ValueKind::Number => Constant::Float(f64::try_from(value.clone()).map_err(|_| foreign())?),
        ValueKind::String => Constant::Text(value.as_str().unwrap_or_default().into()),
        _ => Constant::None,
    })
}
