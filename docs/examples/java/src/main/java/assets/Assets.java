package assets;

import java.nio.charset.StandardCharsets;
import org.hyperledger.fabric.contract.Context;
import org.hyperledger.fabric.contract.ContractInterface;
import org.hyperledger.fabric.contract.annotation.Contract;
import org.hyperledger.fabric.contract.annotation.Default;
import org.hyperledger.fabric.contract.annotation.Transaction;
import org.hyperledger.fabric.shim.ChaincodeException;
import org.json.JSONObject;

/** Assets and their owners. */
@Contract(name = "assets")
@Default
public final class Assets implements ContractInterface {
    @Transaction
    public void Create(final Context ctx, final String id, final String owner) {
        if (!ctx.getStub().getStringState(id).isEmpty()) {
            throw new ChaincodeException("the asset " + id + " already exists");
        }
        String asset = asset(id, owner);
        ctx.getStub().putStringState(id, asset);
        ctx.getStub().setEvent("Created", asset.getBytes(StandardCharsets.UTF_8));
    }

    @Transaction(intent = Transaction.TYPE.EVALUATE)
    public String Read(final Context ctx, final String id) {
        String asset = ctx.getStub().getStringState(id);
        if (asset.isEmpty()) {
            throw new ChaincodeException("the asset " + id + " does not exist");
        }
        return asset;
    }

    /** Changes the owner and returns the previous one. */
    @Transaction
    public String Transfer(final Context ctx, final String id, final String owner) {
        JSONObject previous = new JSONObject(Read(ctx, id));
        ctx.getStub().putStringState(id, asset(id, owner));
        return previous.getString("Owner");
    }

    /** Built by hand, so that every peer writes the members in the same order. */
    private static String asset(final String id, final String owner) {
        return "{\"ID\":" + JSONObject.quote(id) + ",\"Owner\":" + JSONObject.quote(owner) + "}";
    }
}
