//! Taking Daypass down: by the chart's hook and by kubectl alone, with live grants, an operator that comes back and an API server that goes
//! away. Each on a control plane of its own.

mod again;
mod alone;
mod kubelet;
mod tokens;
mod uninstall;
