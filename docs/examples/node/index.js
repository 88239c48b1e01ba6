'use strict';

const { Contract } = require('fabric-contract-api');

class Assets extends Contract {
    async Create(ctx, id, owner) {
        const stored = await ctx.stub.getState(id);
        if (stored.length > 0) {
            throw new Error(`the asset ${id} already exists`);
        }
        // Built by hand, so that every peer writes the members in the same order.
        const asset = Buffer.from(JSON.stringify({ ID: id, Owner: owner }));
        await ctx.stub.putState(id, asset);
        ctx.stub.setEvent('Created', asset);
    }

    async Read(ctx, id) {
        const stored = await ctx.stub.getState(id);
        if (stored.length === 0) {
            throw new Error(`the asset ${id} does not exist`);
        }
        return stored.toString();
    }

    async Transfer(ctx, id, owner) {
        const asset = JSON.parse(await this.Read(ctx, id));
        await ctx.stub.putState(id, Buffer.from(JSON.stringify({ ID: id, Owner: owner })));
        return asset.Owner;
    }
}

module.exports.contracts = [Assets];
