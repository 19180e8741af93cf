//! The JSON Schemas of what tsmig prints and saves, from the types that it prints and saves.
//!
//! They say what is written: a key that is always there is required, and others may be added to a format without a new
//! number, as a reader has to expect.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;
use tsmig::engine::events::Timed;
use tsmig::experience::known::Known;
use tsmig::experience::record::Record;
use tsmig::files::saved_report::SavedReport;
use tsmig::plan::Plan;
use tsmig::profile::Profiles;

/// Each schema with the name of its file.
pub fn all() -> [(&'static str, String); 6] {
    [
        ("profile.json", text::<Profiles>("Profiles: what `tsmig profile` prints and saves")),
        ("plan.json", text::<Plan>("A plan: what `tsmig plan` prints and saves")),
        ("events.json", text::<Timed>("An event: a line of `tsmig evacuate` or `recover` with `--output json`")),
        ("report.json", text::<SavedReport>("A report: what `tsmig evacuate --report FILE` writes")),
        ("experience.json", text::<Record>("What a run has shown: a line of the file that `tsmig model show` names")),
        ("model.json", text::<Known>("What is known from earlier runs: what `tsmig model show` prints")),
    ]
}

fn text<T: JsonSchema>(title: &str) -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(ForReaders);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.remove("description");
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

/// From what is said of Rust to what is said of JSON; and no number of tsmig's is negative unless its minimum is null.
#[derive(Clone)]
struct ForReaders;

impl Transform for ForReaders {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace("`None`", "`null`").replace("[`", "`").replace("`]", "`");
        }
        let placeholder = schema.get("description").is_some_and(|text| text == "Always `SCHEMA`.");
        let name = schema.get("const").and_then(Value::as_str).filter(|_| placeholder);
        if let Some(constant) = name.map(|name| format!("Always `{name}`.")) {
            schema.insert("description".to_owned(), constant.into());
        }
        let numeric = |kind: &Value| kind == "number" || kind == "integer";
        let of = |kinds: &Value| numeric(kinds) || kinds.as_array().is_some_and(|kinds| kinds.iter().any(numeric));
        if schema.get("minimum") == Some(&Value::Null) {
            schema.remove("minimum");
        } else if schema.get("type").is_some_and(of) && schema.get("minimum").is_none() {
            schema.insert("minimum".to_owned(), 0.into());
        }
        // The width of a Rust integer says nothing to a reader of JSON.
        if schema.get("format").and_then(Value::as_str).is_some_and(|format| format != "date-time") {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}
