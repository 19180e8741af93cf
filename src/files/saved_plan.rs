//! A plan in a file.

use std::collections::HashMap;

use super::text::Text;
use super::{FileError, Saved};
use crate::plan::{self, Plan};

impl Saved for Plan {
    const SCHEMA: &'static str = plan::SCHEMA;
    const WHAT: &'static str = "a plan as `tsmig plan --save FILE` writes it";

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        let plan: Self = text.document(Self::SCHEMA)?;
        let mut uuids = HashMap::new();
        for (i, step) in plan.migrations.iter().enumerate() {
            let key = |name: &str| format!("migrations[{i}].{name}");
            if step.order != i + 1 {
                return Err(text.wrong(&key("order"), &format!("it is {}, in place {}", step.order, i + 1)));
            }
            if step.concurrency == 0 {
                return Err(text.wrong(&key("concurrency"), "it is 0"));
            }
            text.check_text(&key("domain"), &step.domain)?;
            text.check_text(&key("uuid"), &step.uuid)?;
            text.check_uuid(&mut uuids, &step.uuid, key("uuid"))?;
        }
        Ok(plan)
    }
}
