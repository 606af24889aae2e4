//! Makes an Elastic IP real: connections to it reach the service of the instance that it is associated with. When it is associated with
//! another instance, or with none, the connections that are open end, as on AWS.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cloud::Cloud;

/// How soon a port that another program has is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// Carries connections for as long as the address leads to an instance with a service.
pub(crate) async fn run(cloud: Arc<Cloud>, region: String, id: String) {
    let mut changed = cloud.changed();
    let route = async || cloud.read(&region, |region| region.ec2.route(&id)).await;
    while let Some((entrance, service)) = route().await {
        let socket = match TcpListener::bind(entrance).await {
            Ok(socket) => socket,
            Err(error) => {
                eprintln!("local cloud: an Elastic IP cannot listen on {entrance}: {error}");
                tokio::select! {
                    () = sleep(RETRY) => continue,
                    () = cloud.stopping() => return,
                }
            }
        };
        let mut connections = JoinSet::new();
        loop {
            changed.mark_unchanged();
            if route().await != Some((entrance, service)) {
                break;
            }
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((client, from)) => drop(connections.spawn(carry(client, from, service))),
                    Err(error) => {
                        // Out of file descriptors, usually: wait for connections to end.
                        eprintln!("local cloud: an Elastic IP cannot accept a connection: {error}");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = changed.changed() => {}
                Some(_) = connections.join_next() => {}
                () = cloud.stopping() => return,
            }
        }
    }
}

async fn carry(mut client: TcpStream, from: SocketAddr, service: SocketAddrV4) {
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        // The instance sees its clients' own addresses. All of 127.0.0.0/8 is this machine on Linux, so that they can be kept.
        if cfg!(target_os = "linux") && from.ip().is_loopback() {
            socket.bind(SocketAddr::new(from.ip(), 0))?;
        }
        socket.connect(SocketAddr::V4(service)).await
    };
    // A service that does not listen is a connection that ends at once.
    if let Ok(mut server) = connecting.await {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        // That either side ends is all there is to a connection.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
