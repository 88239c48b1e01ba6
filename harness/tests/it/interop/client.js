// npm's gateway client: submits, evaluates, follows events, fails. Prints what it saw, as JSON.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const { connect, hash, signers } = require('@hyperledger/fabric-gateway');

const read = (name) => fs.readFileSync(process.env[name]);

async function main() {
    const client = new grpc.Client(process.env.PEER, grpc.credentials.createSsl(read('TLS_ROOT')));
    const gateway = connect({
        client,
        identity: { mspId: process.env.MSP_ID, credentials: read('CERTIFICATE') },
        signer: signers.newPrivateKeySigner(crypto.createPrivateKey(read('PRIVATE_KEY'))),
        hash: hash.sha256,
        evaluateOptions: () => ({ deadline: Date.now() + 10000 }),
        endorseOptions: () => ({ deadline: Date.now() + 15000 }),
        submitOptions: () => ({ deadline: Date.now() + 10000 }),
        commitStatusOptions: () => ({ deadline: Date.now() + 15000 }),
    });
    const network = gateway.getNetwork('mychannel');
    const contract = network.getContract('basic');
    const text = (bytes) => Buffer.from(bytes).toString();
    const seen = {};
    const events = await network.getChaincodeEvents('basic');
    seen.put = text(await contract.submitTransaction('put', 'key1', 'value1'));
    for await (const event of events) {
        seen.event = { name: event.eventName, payload: text(event.payload), block: String(event.blockNumber) };
        seen.after = event.transactionId;
        break;
    }
    events.close();
    seen.get = text(await contract.evaluateTransaction('get', 'key1'));

    const commit = await contract.submitAsync('put', { arguments: ['key2', 'value2'] });
    const status = await commit.getStatus();
    seen.status = { code: status.code, successful: status.successful, block: String(status.blockNumber) };
    await contract.submitTransaction('put', 'key1', 'value3');
    const replayed = await network.getChaincodeEvents('basic', { startBlock: 0n });
    seen.replayed = [];
    for await (const event of replayed) {
        seen.replayed.push(text(event.payload));
        if (seen.replayed.length === 3) break;
    }
    replayed.close();
    const later = await network.getChaincodeEvents('basic', { checkpoint: {
        getBlockNumber: () => BigInt(seen.event.block), getTransactionId: () => seen.after } });
    for await (const event of later) {
        seen.later = text(event.payload);
        break;
    }
    later.close();
    seen.range = JSON.parse(text(await contract.evaluateTransaction('range', 'key', 'kez')));
    seen.history = JSON.parse(text(await contract.evaluateTransaction('history', 'key1')));
    seen.who = text(await contract.evaluateTransaction('who'));
    seen.height = text(await contract.evaluateTransaction('height'));

    const secret = { transientData: { secret: Buffer.from('hidden') }, endorsingOrganizations: ['Org1MSP'] };
    seen.secret = text(await contract.submit('secret', secret));
    seen.revealed = text(await contract.evaluateTransaction('reveal'));
    for (const [name, work] of [
        ['evaluate', () => contract.evaluateTransaction('get', 'nothing')],
        ['endorse', () => contract.submitTransaction('get', 'nothing')],
        ['unknown', () => network.getContract('other').submitTransaction('get', 'nothing')],
    ]) {
        try {
            await work();
        } catch (error) {
            seen[name] = { type: error.constructor.name, code: error.code, message: error.message, details: error.details };
        }
    }
    gateway.close();
    client.close();
    console.log(JSON.stringify(seen));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
