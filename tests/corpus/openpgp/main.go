// SPDX-License-Identifier: Apache-2.0

// Says whether containers/image, built with the OpenPGP library that Portieris has, accepts an image
// under a policy. Build it with: go build -tags containers_image_openpgp
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
)

func check(policyPath, conf, places, name string) error {
	policy, err := signature.NewPolicyFromFile(policyPath)
	if err != nil {
		return err
	}
	pc, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer pc.Destroy()
	ref, err := docker.ParseReference("//" + name)
	if err != nil {
		return err
	}
	sys := &types.SystemContext{SystemRegistriesConfPath: conf, RegistriesDirPath: places, DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}
	ctx := context.Background()
	src, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return err
	}
	defer src.Close()
	allowed, err := pc.IsRunningImageAllowed(ctx, image.UnparsedInstance(src, nil))
	if err != nil {
		return err
	}
	if !allowed {
		return fmt.Errorf("not allowed")
	}
	return nil
}

func main() {
	if err := check(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}
