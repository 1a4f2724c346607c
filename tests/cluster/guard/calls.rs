//! Calls to the API server as values, and who makes them: plain HTTP, because forgeries have to say what no typed client would.

use http::Method;
use kube::{Client, client::Body};
use serde_json::Value;

/// One request to the API server.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Value>,
}

/// What the API server said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP code.
    pub code: u16,
    /// The body as it came.
    pub text: String,
}

/// Somebody who calls.
#[derive(Clone)]
pub struct Caller(pub Client);

/// POST.
pub fn create(path: impl Into<String>, object: Value) -> Call {
    call(Method::POST, path, "application/json", Some(object))
}

/// PUT.
pub fn put(path: impl Into<String>, object: Value) -> Call {
    call(Method::PUT, path, "application/json", Some(object))
}

/// A JSON merge patch.
pub fn merge(path: impl Into<String>, patch: Value) -> Call {
    call(Method::PATCH, path, "application/merge-patch+json", Some(patch))
}

/// A JSON patch.
pub fn json_patch(path: impl Into<String>, operations: Value) -> Call {
    call(Method::PATCH, path, "application/json-patch+json", Some(operations))
}

/// A forced server-side apply.
pub fn apply(path: impl Into<String>, object: Value) -> Call {
    call(Method::PATCH, format!("{}?fieldManager=matrix&force=true", path.into()), "application/apply-patch+yaml", Some(object))
}

/// DELETE.
pub fn delete(path: impl Into<String>) -> Call {
    call(Method::DELETE, path, "application/json", None)
}

/// DELETE with options in its body.
pub fn delete_with(path: impl Into<String>, options: Value) -> Call {
    call(Method::DELETE, path, "application/json", Some(options))
}

/// GET.
pub fn get(path: impl Into<String>) -> Call {
    call(Method::GET, path, "application/json", None)
}

fn call(method: Method, path: impl Into<String>, content_type: &'static str, body: Option<Value>) -> Call {
    Call { method, path: path.into(), content_type, body }
}

impl Caller {
    /// Makes the call, once.
    pub async fn send(&self, call: &Call) -> Answer {
        let body = call.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = http::Request::builder().method(call.method.clone()).uri(&call.path).header("content-type", call.content_type);
        let response = self.0.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        Answer { code, text: String::from_utf8_lossy(&bytes).into_owned() }
    }
}

impl Answer {
    /// The object that came back; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A text in the object that came back; empty if it is not there.
    pub fn field(&self, pointer: &str) -> String {
        self.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}
