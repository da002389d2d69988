//! What bigquery-sync needs: cron with its table, and the two scripts that the table runs.

pub mod cron;
pub mod crontab;
mod etl;
pub mod python;
mod table;
