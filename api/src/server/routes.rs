//! The route table: the one way to register a route, on any façade.

use std::collections::BTreeMap;

use actix_web::dev::Handler;
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, HttpResponse, Responder, ResponseError, Route, web};

use super::access::{Permission, guard};
use super::problem::Failure;

/// Who speaks at a route, and so how it says no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Facade {
    /// Problem documents; pages for browsers.
    #[default]
    Native,
    /// What clients of the Hugging Face Hub understand.
    Hub,
}

/// One registered route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) permission: Permission,
    pub(crate) facade: Facade,
}

/// Routes on their way into the server.
#[derive(Default)]
pub(crate) struct RouteTable {
    /// Of the routes that are added next.
    pub(crate) facade: Facade,
    pub(crate) entries: Vec<Entry>,
    routes: BTreeMap<&'static str, Vec<(Method, Route)>>,
}

impl RouteTable {
    /// Registers a handler. `GET` routes answer `HEAD` as well.
    pub(crate) fn add<F, Args>(&mut self, method: Method, path: &'static str, permission: Permission, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let facade = self.facade;
        self.entries.push(Entry { method: method.clone(), path, permission, facade });
        let guarded = |method: Method, handler: F| {
            let route = web::method(method.clone()).to(handler);
            (method, route.wrap(from_fn(move |request, next| guard(facade, permission, request, next))))
        };
        let routes = self.routes.entry(path).or_default();
        if method == Method::GET {
            routes.push(guarded(Method::HEAD, handler.clone()));
        }
        routes.push(guarded(method, handler));
    }

    /// Hands the routes to actix. Literal segments go before parameters, so that
    /// `/models/new` is not taken for a model.
    pub(crate) fn configure(self, config: &mut web::ServiceConfig) {
        let mut paths: Vec<_> = self.routes.into_iter().collect();
        paths.sort_by_key(|(path, _)| (path.contains('*'), path.matches('{').count()));
        for (path, routes) in paths {
            let methods: Vec<_> = routes.iter().map(|(method, _)| method.to_string()).collect();
            let mut resource = web::resource(path).default_service(web::route().to(refusal(methods.join(", "))));
            for (_, route) in routes {
                resource = resource.route(route);
            }
            config.service(resource);
        }
    }
}

/// The answer to methods that a path does not have.
fn refusal(allowed: String) -> impl Handler<(), Output = HttpResponse> {
    move || {
        let detail = format!("This path answers {allowed}.");
        let failure = Failure::Request(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
        let mut response = failure.error_response();
        if let Ok(value) = header::HeaderValue::from_str(&allowed) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        std::future::ready(response)
    }
}

/// Every route of every façade.
pub(crate) fn all() -> RouteTable {
    let mut table = RouteTable::default();
    super::operations::routes(&mut table);
    crate::v1::routes(&mut table);
    crate::log::routes(&mut table);
    crate::ui::routes(&mut table);
    table.facade = Facade::Hub;
    crate::hf::routes(&mut table);
    table
}
