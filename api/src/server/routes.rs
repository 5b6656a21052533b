//! The route table: the one way to register a route, on any façade.

use std::collections::BTreeMap;

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{FromRequest, Responder, Route, web};

use super::access::{Permission, guard};

/// One registered route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) permission: Permission,
}

/// Routes on their way into the server.
#[derive(Default)]
pub(crate) struct RouteTable {
    pub(crate) entries: Vec<Entry>,
    routes: BTreeMap<&'static str, Vec<Route>>,
}

impl RouteTable {
    /// Registers a handler. `GET` routes answer `HEAD` as well.
    pub(crate) fn add<F, Args>(&mut self, method: Method, path: &'static str, permission: Permission, handler: F)
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.entries.push(Entry { method: method.clone(), path, permission });
        let guarded = |method: Method, handler: F| {
            web::method(method).to(handler).wrap(from_fn(move |request, next| guard(permission, request, next)))
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
            let mut resource = web::resource(path);
            for route in routes {
                resource = resource.route(route);
            }
            config.service(resource);
        }
    }
}

/// Every route of every façade.
pub(crate) fn all() -> RouteTable {
    let mut table = RouteTable::default();
    super::operations::routes(&mut table);
    crate::v1::routes(&mut table);
    crate::ui::routes(&mut table);
    table
}
