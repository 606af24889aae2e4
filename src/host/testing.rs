//! What is different in a run that belongs to a test of `ops test`: waits take no time, and the local cloud can be asked what only a
//! test may ask.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Host, World};
use crate::clients::http::{self, Request};
use crate::error::Error;

impl Host {
    pub fn under_test(&self) -> bool {
        matches!(self.world, World::Local { under_test: true, .. })
    }

    /// Waits. Under test the local cloud's clock is set forward instead.
    pub fn pause(&self, pause: Duration) -> Result<(), Error> {
        if self.under_test() {
            return self.skip(pause);
        }
        self.block_without_account(self.rest(pause))
    }

    /// The same in the middle of an operation that uses the clients.
    pub async fn rest(&self, pause: Duration) -> Result<(), Error> {
        if self.under_test() {
            return self.ask("POST", "clock", &skipped(pause)).await.map(drop);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Sets the local cloud's clock forward.
    pub fn skip(&self, time: Duration) -> Result<(), Error> {
        self.ask_local("POST", "clock", &skipped(time)).map(drop)
    }

    /// This moment; under test what the local cloud's clock says.
    pub fn now(&self) -> Result<Timestamp, Error> {
        if !self.under_test() {
            return Ok(Timestamp::now());
        }
        let clock = self.ask_local("GET", "clock", &Value::Null)?;
        let now = clock["now"].as_str().and_then(|now| now.parse().ok());
        now.ok_or_else(|| Error::internal(format!("the local cloud's clock says {clock}")))
    }

    /// One of the local cloud's own requests, `/_local/<route>`, for tests alone.
    pub fn ask_local(&self, method: &str, route: &str, body: &Value) -> Result<Value, Error> {
        if !self.under_test() {
            return Err(Error::refused(
                "this is for tests: nothing here stands for a cloud that may be tried with",
            )
            .help("put it into a function `test_..` of playbooks/tests, and run that by `ops test`"));
        }
        self.block(self.ask(method, route, body))
    }

    async fn ask(&self, method: &str, route: &str, body: &Value) -> Result<Value, Error> {
        let aws = self.aws()?;
        let Some(endpoint) = aws.endpoint() else {
            return Err(Error::internal("a test runs without a local cloud"));
        };
        let mut request = Request::get(&format!("{endpoint}/_local/{route}"));
        request.method = method.to_owned();
        if !body.is_null() {
            request.body = body.to_string().into_bytes();
        }
        let answer = http::send(&request).await?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status >= 300 {
            return Err(Error::invalid(text.trim()));
        }
        serde_json::from_str(&text)
            .map_err(|error| Error::internal(format!("the local cloud's answer is no JSON: {error}")))
    }
}

fn skipped(time: Duration) -> Value {
    json!({ "skip_s": time.as_secs() })
}
