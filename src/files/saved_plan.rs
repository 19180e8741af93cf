//! A plan in a file.

use std::collections::HashMap;

use serde::Deserialize;

use super::text::Text;
use super::{FileError, Saved};
use crate::domain::Transport;
use crate::plan::{self, Plan, StepTransfer};

impl Saved for Plan {
    const SCHEMA: &'static str = plan::SCHEMA;
    const WHAT: &'static str = "a plan as `tsmig plan --save FILE` writes it";

    fn read(text: &Text<'_>) -> Result<Self, FileError> {
        #[derive(Deserialize)]
        struct Steps {
            migrations: Vec<StepTransfer>,
        }
        // First, since an error in what is flattened does not know its key.
        let Steps { migrations } = text.document(Self::SCHEMA)?;
        let plan: Self = text.parse()?;
        let destination = match plan.destinations.as_slice() {
            [destination] => destination,
            others => return Err(text.wrong("destinations", &format!("it has {} of them", others.len()))),
        };
        for (key, host) in [("source", &plan.source), ("destinations[0]", destination)] {
            if plan.port(host).is_none() {
                return Err(text.wrong(key, &format!("hosts has no {host}")));
            }
        }
        for (i, StepTransfer { technique, transfer }) in migrations.iter().enumerate() {
            if *technique != transfer.technique {
                let problem = format!("it is {technique}, and in transfer it is {}", transfer.technique);
                return Err(text.wrong(&format!("migrations[{i}].technique"), &problem));
            }
            if transfer.transport != Transport::PLAIN {
                return Err(text.wrong(&format!("migrations[{i}].transfer.transport"), "this version has no other"));
            }
        }
        let mut uuids = HashMap::new();
        for (i, step) in plan.migrations.iter().enumerate() {
            let key = |name: &str| format!("migrations[{i}].{name}");
            if step.order != i + 1 {
                return Err(text.wrong(&key("order"), &format!("it is {}, in place {}", step.order, i + 1)));
            }
            if step.concurrency == 0 {
                return Err(text.wrong(&key("concurrency"), "it is 0"));
            }
            if step.destination != *destination {
                return Err(text.wrong(&key("destination"), &format!("the plan is not for {}", step.destination)));
            }
            text.check_text(&key("domain"), &step.domain)?;
            text.check_text(&key("uuid"), &step.uuid)?;
            text.check_uuid(&mut uuids, &step.uuid, key("uuid"))?;
        }
        Ok(plan)
    }
}
