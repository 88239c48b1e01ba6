package assets;

import java.net.InetSocketAddress;
import org.hyperledger.fabric.contract.ContractRouter;
import org.hyperledger.fabric.shim.ChaincodeServerProperties;
import org.hyperledger.fabric.shim.NettyChaincodeServer;

/** Serves the contracts on the class path. The environment variables configure the server. */
public final class Main {
    public static void main(final String[] arguments) throws Exception {
        String host = System.getenv("CHAINCODE_SERVER_HOST");
        int port = Integer.parseInt(System.getenv("CHAINCODE_SERVER_PORT"));
        ChaincodeServerProperties properties = new ChaincodeServerProperties();
        properties.setServerAddress(new InetSocketAddress(host, port));
        if (System.getenv("CHAINCODE_TLS_DISABLED").equals("false")) {
            properties.setTlsEnabled(true);
            properties.setKeyFile(System.getenv("CHAINCODE_TLS_KEY"));
            properties.setKeyCertChainFile(System.getenv("CHAINCODE_TLS_CERT"));
            // Set only with mutual TLS.
            properties.setTrustCertCollectionFile(System.getenv("CHAINCODE_CLIENT_CA_CERT"));
        }
        ContractRouter router = new ContractRouter(new String[] {"-i", System.getenv("CHAINCODE_ID")});
        router.startRouterWithChaincodeServer(new NettyChaincodeServer(router, properties));
    }
}
