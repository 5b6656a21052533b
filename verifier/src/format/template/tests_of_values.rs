//! Jinja's tests: what stands behind `is`.

use super::error::{Result, runtime, unsupported};
use super::evaluate::Arguments;
use super::machine::Machine;
use super::tree::Comparison;
use super::value::Value;

impl Machine<'_> {
    pub(super) fn test(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        if let Some(holds) = type_test(name, value) {
            return Ok(Value::bool(holds));
        }
        let comparison = match name {
            "eq" | "equalto" | "==" => Comparison::Equal,
            "ne" | "!=" => Comparison::NotEqual,
            "lt" | "lessthan" | "<" => Comparison::Less,
            "le" | "<=" => Comparison::LessOrEqual,
            "gt" | "greaterthan" | ">" => Comparison::Greater,
            "ge" | ">=" => Comparison::GreaterOrEqual,
            "in" => Comparison::In,
            _ => return self.other_test(name, value, arguments),
        };
        match arguments.positional.first() {
            Some(other) => self.compare(comparison, value, other),
            None => runtime(format!("the test `{name}` needs an argument")),
        }
    }

    fn other_test(&mut self, name: &str, value: &Value, arguments: &Arguments) -> Result<Value> {
        let divisible = |divisor: Option<i64>| match (value.as_int(), divisor) {
            (Some(_), Some(0)) => runtime("integer modulo by zero"),
            (Some(number), Some(divisor)) => Ok(Value::Bool(number.wrapping_rem(divisor) == 0, value.taint())),
            _ => runtime(format!("the test `{name}` needs integers")),
        };
        match name {
            "even" => divisible(Some(2)),
            "odd" => Ok(match divisible(Some(2))? {
                Value::Bool(even, taint) => Value::Bool(!even, taint),
                other => other,
            }),
            "divisibleby" => divisible(arguments.positional.first().and_then(Value::as_int)),
            "sameas" => {
                let Some(other) = arguments.positional.first() else { return runtime("sameas needs an argument") };
                let same_kind = value.type_name() == other.type_name();
                let outcome = self.compare(Comparison::Equal, value, other)?;
                Ok(Value::Bool(same_kind && outcome.is_true(), outcome.taint()))
            }
            "upper" | "lower" => {
                let text = self.display(value)?;
                let arguments = Arguments::default();
                let method = if name == "upper" { "isupper" } else { "islower" };
                self.call_method(&Value::Text(text), method, &arguments)
            }
            "filter" | "test" => unsupported(format!("the test `{name}`")),
            _ => unsupported(format!("the unknown test `{name}`")),
        }
    }
}

/// The answer of a test that asks for the kind of a value alone.
fn type_test(name: &str, value: &Value) -> Option<bool> {
    Some(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(..)),
        "true" => matches!(value, Value::Bool(true, _)),
        "false" => matches!(value, Value::Bool(false, _)),
        "integer" => matches!(value, Value::Int(..)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Bool(..) | Value::Int(..) | Value::Float(_)),
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" | "iterable" => {
            matches!(value, Value::Text(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_))
        }
        "callable" => {
            matches!(
                value,
                Value::Macro(_) | Value::Function(_) | Value::Method(_) | Value::Stateful(_) | Value::Loop(_)
            )
        }
        "escaped" => false,
        _ => return None,
    })
}
