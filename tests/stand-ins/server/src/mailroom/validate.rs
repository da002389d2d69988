//! Bodies and forms, refused as the real validators refuse them.

use serde_json::Value;

use crate::http::Request;

/// The body as a JSON object in which all of these fields have a value. The error is what
/// follows `request failed validation: `.
pub fn body(request: &Request, required: &[&str]) -> Result<Value, String> {
    let text = request.body_text();
    if text.trim().is_empty() {
        return Err("unexpected end of JSON input".into());
    }
    let value: Value = serde_json::from_str(&text).map_err(|problem| {
        if problem.is_eof() {
            return "unexpected end of JSON input".to_owned();
        }
        let found = text
            .lines()
            .nth(problem.line().saturating_sub(1))
            .and_then(|line| line.chars().nth(problem.column().saturating_sub(1)));
        let found = found.or_else(|| text.trim_start().chars().next()).unwrap_or(' ');
        format!("invalid character '{found}' looking for beginning of value")
    })?;
    let kind = match &value {
        Value::Object(_) => None,
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
        Value::Null => Some("null"),
    };
    if let Some(kind) = kind {
        return Err(format!("json: cannot unmarshal {kind} into Go value of type request"));
    }
    let missing: Vec<String> = required
        .iter()
        .filter(|name| is_zero(&value[**name]))
        .map(|name| format!("field '{name}' is required"))
        .collect();
    if !missing.is_empty() {
        return Err(missing.join(", "));
    }
    for name in ["org_id", "user_id", "channel_id"] {
        let field = &value[name];
        if !field.is_null() && field.as_i64().is_none() {
            let kind = if field.is_string() { "string" } else { "number" };
            return Err(format!(
                "json: cannot unmarshal {kind} into Go struct field request.{name} of type int64"
            ));
        }
    }
    Ok(value)
}

/// Go's zero values count as missing; an empty list does not.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

/// Fields of a form, with the names that the validator gives them in its message.
pub fn form(
    request: &Request,
    kind: &str,
    required: &[(&str, &str)],
) -> Result<Vec<(String, String)>, String> {
    let form = request.form();
    let missing: Vec<String> = required
        .iter()
        .filter(|(name, _)| !form.iter().any(|(key, value)| key == name && !value.is_empty()))
        .map(|(_, field)| {
            format!(
                "Key: '{kind}.{field}' Error:Field validation for '{field}' failed on the \
                 'required' tag"
            )
        })
        .collect();
    if missing.is_empty() { Ok(form) } else { Err(missing.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_body(text: &str) -> Request {
        Request { method: "POST".into(), body: text.into(), ..Request::default() }
    }

    #[test]
    fn bodies_are_refused_in_the_words_of_the_real_one() {
        for (text, problem) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("[]", "json: cannot unmarshal array into Go value of type request"),
            ("{}", "field 'org_id' is required, field 'query' is required"),
            (
                r#"{"org_id": 0, "query": ""}"#,
                "field 'org_id' is required, field 'query' is required",
            ),
            (
                r#"{"org_id": "1", "query": "x"}"#,
                "json: cannot unmarshal string into Go struct field request.org_id of type int64",
            ),
        ] {
            assert_eq!(body(&with_body(text), &["org_id", "query"]).unwrap_err(), problem);
        }
        assert!(body(&with_body("nonsense"), &[]).unwrap_err().starts_with("invalid character"));
        assert!(body(&with_body(r#"{"org_id": 1, "query": []}"#), &["org_id", "query"]).is_ok());
    }

    #[test]
    fn forms_name_the_field_of_the_struct() {
        let mut request = with_body("action=start");
        request.headers.push(("Content-Type".into(), "application/x-www-form-urlencoded".into()));
        let fields = [("connection", "ConnectionID"), ("action", "Action")];
        assert_eq!(
            form(&request, "IVRRequest", &fields).unwrap_err(),
            "Key: 'IVRRequest.ConnectionID' Error:Field validation for 'ConnectionID' failed on \
             the 'required' tag"
        );
    }
}
