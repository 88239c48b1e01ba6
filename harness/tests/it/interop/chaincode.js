// A chaincode server of npm's fabric-shim, over TLS, that uses what the shim has.
'use strict';

const fs = require('fs');
const shim = require('fabric-shim');

class Chaincode {
    async Init() {
        return shim.success();
    }

    async Invoke(stub) {
        const { fcn, params } = stub.getFunctionAndParameters();
        try {
            return shim.success(await this[fcn](stub, ...params));
        } catch (error) {
            return shim.error(error.message);
        }
    }

    async put(stub, key, value) {
        await stub.putState(key, Buffer.from(value));
        stub.setEvent('put', Buffer.from(key));
        return Buffer.from(value);
    }

    async get(stub, key) {
        const value = await stub.getState(key);
        if (value.length === 0) {
            throw new Error(`there is no ${key}`);
        }
        return value;
    }

    async range(stub, start, end) {
        const keys = [];
        for await (const { key } of stub.getStateByRange(start, end)) {
            keys.push(key);
        }
        return Buffer.from(JSON.stringify(keys));
    }

    async history(stub, key) {
        const values = [];
        for await (const { value } of stub.getHistoryForKey(key)) {
            values.push(Buffer.from(value).toString());
        }
        return Buffer.from(JSON.stringify(values));
    }

    async secret(stub) {
        const transient = stub.getTransient();
        await stub.putPrivateData('_implicit_org_Org1MSP', 'secret', transient.get('secret'));
        return Buffer.from('kept');
    }

    async reveal(stub) {
        return Buffer.from(await stub.getPrivateData('_implicit_org_Org1MSP', 'secret'));
    }

    async who(stub) {
        return Buffer.from(stub.getCreator().mspid);
    }

    async height(stub) {
        const answer = await stub.invokeChaincode('qscc', [Buffer.from('GetChainInfo'), Buffer.from(stub.getChannelID())]);
        return Buffer.from(`${answer.status} ${answer.message}`);
    }
}

shim.server(new Chaincode(), {
    ccid: process.env.CHAINCODE_ID,
    address: process.env.CHAINCODE_SERVER_ADDRESS,
    tlsProps: {
        key: fs.readFileSync(process.env.CHAINCODE_TLS_KEY),
        cert: fs.readFileSync(process.env.CHAINCODE_TLS_CERT),
    },
}).start();
