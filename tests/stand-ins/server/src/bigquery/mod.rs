pub mod cron { pub fn run(_: &[String]) -> ! { todo!() } }
pub mod crontab { pub fn run(_: &[String]) -> ! { todo!() } }
pub mod python { pub fn run(_: &[String]) -> ! { todo!() } }
