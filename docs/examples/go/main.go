// A chaincode for fabric-harness: assets and their owners.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

type asset struct {
	ID    string
	Owner string
}

type assets struct{}

// Init does nothing.
func (assets) Init(shim.ChaincodeStubInterface) *peer.Response {
	return shim.Success(nil)
}

// Invoke calls the function that the first argument names.
func (assets) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, arguments := stub.GetFunctionAndParameters()
	payload, err := call(stub, function, arguments)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}

func call(stub shim.ChaincodeStubInterface, function string, arguments []string) ([]byte, error) {
	switch {
	case function == "Create" && len(arguments) == 2:
		return nil, create(stub, arguments[0], arguments[1])
	case function == "Read" && len(arguments) == 1:
		return read(stub, arguments[0])
	case function == "Transfer" && len(arguments) == 2:
		return transfer(stub, arguments[0], arguments[1])
	}
	return nil, fmt.Errorf("there is no function %s of %d arguments", function, len(arguments))
}

func create(stub shim.ChaincodeStubInterface, id, owner string) error {
	stored, err := stub.GetState(id)
	if err != nil {
		return err
	}
	if stored != nil {
		return fmt.Errorf("the asset %s already exists", id)
	}
	created, err := json.Marshal(asset{ID: id, Owner: owner})
	if err != nil {
		return err
	}
	if err := stub.PutState(id, created); err != nil {
		return err
	}
	return stub.SetEvent("Created", created)
}

func read(stub shim.ChaincodeStubInterface, id string) ([]byte, error) {
	stored, err := stub.GetState(id)
	if err == nil && stored == nil {
		err = fmt.Errorf("the asset %s does not exist", id)
	}
	return stored, err
}

// transfer changes the owner and returns the previous one.
func transfer(stub shim.ChaincodeStubInterface, id, owner string) ([]byte, error) {
	stored, err := read(stub, id)
	if err != nil {
		return nil, err
	}
	var previous asset
	if err := json.Unmarshal(stored, &previous); err != nil {
		return nil, err
	}
	changed, err := json.Marshal(asset{ID: id, Owner: owner})
	if err != nil {
		return nil, err
	}
	return []byte(previous.Owner), stub.PutState(id, changed)
}

func main() {
	server := &shim.ChaincodeServer{
		CCID:     os.Getenv("CHAINCODE_ID"),
		Address:  os.Getenv("CHAINCODE_SERVER_ADDRESS"),
		CC:       assets{},
		TLSProps: tls(),
	}
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
}

// tls reads the files that the variables name. CHAINCODE_CLIENT_CA_CERT is set only with mutual TLS.
func tls() shim.TLSProperties {
	if os.Getenv("CHAINCODE_TLS_DISABLED") == "true" {
		return shim.TLSProperties{Disabled: true}
	}
	properties := shim.TLSProperties{Key: file("CHAINCODE_TLS_KEY"), Cert: file("CHAINCODE_TLS_CERT")}
	if os.Getenv("CHAINCODE_CLIENT_CA_CERT") != "" {
		properties.ClientCACerts = file("CHAINCODE_CLIENT_CA_CERT")
	}
	return properties
}

func file(variable string) []byte {
	bytes, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		log.Fatalf("%s: %v", variable, err)
	}
	return bytes
}
