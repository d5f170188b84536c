//! As much of JSON Schema as our contracts use; a keyword that it does not know is an error, so that
//! nothing in a contract goes unread.

use serde_json::Value;

const KNOWN: [&str; 18] = [
    "$schema", "title", "description", "type", "required", "properties", "additionalProperties", "enum", "const", "items", "maxItems", "minimum", "maximum", "maxLength", "oneOf",
    "$ref", "example", "default",
];

/// Whether a value fits a schema without references.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> { check_in(&Value::Null, schema, value) }

/// The same; references lead into `root`.
pub fn check_in(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let fields = schema.as_object().ok_or("a schema is an object")?;
    if let Some(unknown) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("the keyword {unknown:?} is not read here"));
    }
    if let Some(to) = fields.get("$ref") {
        let path = to.as_str().and_then(|to| to.strip_prefix('#')).ok_or("a reference within the document")?;
        let target = root.pointer(path).ok_or_else(|| format!("{path} leads nowhere"))?;
        return check_in(root, target, value);
    }
    if let Some(types) = fields.get("type") {
        let types: Vec<&str> = types.as_array().map_or_else(|| types.as_str().into_iter().collect(), |all| all.iter().filter_map(Value::as_str).collect());
        let fits = |name: &&str| match *name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("the type {other:?} is not read here"),
        };
        if !types.iter().any(fits) {
            return Err(format!("{value} is not of type {types:?}"));
        }
    }
    if fields.get("const").is_some_and(|constant| constant != value) || fields.get("enum").is_some_and(|all| !all.as_array().unwrap().contains(value)) {
        return Err(format!("{value} is none of the values of {schema}"));
    }
    let number = |key: &str| fields.get(key).and_then(Value::as_f64).zip(value.as_f64());
    if number("minimum").is_some_and(|(least, n)| n < least) || number("maximum").is_some_and(|(most, n)| n > most) {
        return Err(format!("{value} is out of range of {schema}"));
    }
    if let (Some(most), Some(text)) = (fields.get("maxLength").and_then(Value::as_u64), value.as_str())
        && u64::try_from(text.chars().count()).unwrap() > most
    {
        return Err(format!("{text:?} is longer than {most}"));
    }
    if let (Some(most), Some(list)) = (fields.get("maxItems").and_then(Value::as_u64), value.as_array())
        && u64::try_from(list.len()).unwrap() > most
    {
        return Err(format!("more than {most} items"));
    }
    if let Some(choices) = fields.get("oneOf") {
        let fit: Vec<_> = choices.as_array().unwrap().iter().map(|choice| check_in(root, choice, value)).collect();
        if fit.iter().filter(|one| one.is_ok()).count() != 1 {
            return Err(format!("{value} fits {} of {}: {fit:?}", fit.iter().filter(|one| one.is_ok()).count(), fit.len()));
        }
    }
    if let Some(object) = value.as_object() {
        let properties = fields.get("properties").and_then(Value::as_object);
        for name in fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return Err(format!("{name} is missing in {value}"));
            }
        }
        for (name, inner) in object {
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => check_in(root, schema, inner).map_err(|e| format!("{name}: {e}"))?,
                None if fields.get("additionalProperties") == Some(&Value::Bool(false)) => return Err(format!("{name} is not in the contract")),
                None => {}
            }
        }
    }
    if let (Some(items), Some(list)) = (fields.get("items"), value.as_array()) {
        for item in list {
            check_in(root, items, item)?;
        }
    }
    Ok(())
}
