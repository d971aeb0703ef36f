//! Words that the programs share, checked where they come in. No clock, disk, network or async.

pub mod cloud;
pub mod duration;
pub mod excerpt;
pub mod names;
pub mod pem;
pub mod plan;
pub mod property;
pub mod secret;
pub mod template;
pub mod yaml;
pub mod yaml_fields;
