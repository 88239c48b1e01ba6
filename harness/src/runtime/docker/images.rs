//! The images of nodes and chaincode servers.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as DockerError;
use testcontainers::GenericImage;
use testcontainers::runners::AsyncRunner as _;

use super::Error;
use super::container::Image;
use super::engine::{Engine, EngineError};
use crate::console::error_text;
use crate::runtime::{ORDERER_IMAGE, PEER_IMAGE};

/// How long a pull may take. The images have about 170 MB together.
const PULL_BOUND: Duration = Duration::from_mins(10);

/// How long a registry may take to look for an image.
const REGISTRY_BOUND: Duration = Duration::from_secs(3);

/// Pulls an image unless the engine has it.
pub(super) async fn ensure(docker: &Docker, image: String) -> Result<(), Error> {
    if is_local(docker, &image).await? {
        return Ok(());
    }
    // Takes minutes, in which nothing else is printed.
    eprintln!("pulling {image} …");
    // With testcontainers, which knows the user's registry credentials.
    let Image { name, tag } = Image::parse(&image);
    let pull = GenericImage::new(name, tag).pull_image();
    match tokio::time::timeout(PULL_BOUND, pull).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Image { image, reason: error_text(&error) }),
        Err(_) => {
            let reason = format!("the pull timed out after {} s", PULL_BOUND.as_secs());
            Err(Error::Image { image, reason })
        }
    }
}

/// [`ensure`] for the image of a chaincode server.
pub(super) async fn ensure_server(docker: &Docker, image: &str) -> Result<(), Error> {
    ensure(docker, image.to_owned()).await.map_err(|error| match error {
        Error::Image { image, reason } => Error::ServerImage { image, reason },
        other => other,
    })
}

async fn is_local(docker: &Docker, image: &str) -> Result<bool, Error> {
    let engine = Engine::from_environment();
    let answer = engine.ask("look for an image", docker.inspect_image(image)).await;
    match answer {
        Ok(_) => Ok(true),
        Err(EngineError::Refused {
            source: DockerError::DockerResponseServerError { status_code: 404, .. }, ..
        }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The user that an image runs as; empty for the default.
pub(super) async fn user_of(engine: &Engine, docker: &Docker, image: &str) -> Result<String, EngineError> {
    let found = engine.ask("look for an image", docker.inspect_image(image)).await?;
    Ok(found.config.and_then(|config| config.user).unwrap_or_default())
}

/// Whether [`DockerRuntime::find`](super::DockerRuntime::find) can be expected to succeed, without pulling
/// anything: an engine answers, and it or its registry has the images of this tag.
pub(super) async fn is_obtainable(tag: &str) -> Result<String, Error> {
    let engine = Engine::from_environment();
    let docker = engine.connect().await?;
    let mut absent = Vec::new();
    for name in [PEER_IMAGE, ORDERER_IMAGE] {
        let image = format!("{name}:{tag}");
        if !is_local(&docker, &image).await? {
            is_in_registry(&docker, &image).await?;
            absent.push(image);
        }
    }
    if absent.is_empty() {
        return Ok(format!("the engine at {} has the images {tag}", engine.uri()));
    }
    Ok(format!("the engine at {} can pull {}", engine.uri(), absent.join(" and ")))
}

async fn is_in_registry(docker: &Docker, image: &str) -> Result<(), Error> {
    let failed = |reason: String| Error::Image { image: image.to_owned(), reason };
    match tokio::time::timeout(REGISTRY_BOUND, docker.inspect_registry_image(image, None)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(error_text(&error))),
        Err(_) => Err(failed(format!("the registry did not answer within {} s", REGISTRY_BOUND.as_secs()))),
    }
}
